"""What every feature's pages stand on: sessions, CSRF, errors, headers, logs, forms."""
