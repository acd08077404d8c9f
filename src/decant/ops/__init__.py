"""Operations: what is counted, what is ready, and what is written down."""
