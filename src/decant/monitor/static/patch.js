// Make one element like another, changing as little as possible.

// Make `old` have the attributes and children of `fresh`.
export function patch(old, fresh) {
  attributes(old, fresh);
  children(old, fresh);
}

function attributes(old, fresh) {
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (fresh.hasAttribute(name)) continue;
    if (name === "open" && old.tagName === "DETAILS") continue; // opened by whoever reads it
    old.removeAttribute(name);
  }
}

function alike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && (one.id || "") === (other.id || "");
}

function children(old, fresh) {
  const known = new Map();
  for (const child of old.children) if (child.id) known.set(child.id, child);
  let here = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    let match = wanted.id ? known.get(wanted.id) : null;
    if (!match && here && alike(here, wanted)) match = here;
    if (!match) {
      old.insertBefore(document.importNode(wanted, true), here);
      continue;
    }
    if (match !== here) {
      // Rows leave at the one end and come in at the other: taking out what is gone moves nothing that has the focus.
      while (here && here !== match && !stays(here, fresh)) here = removed(here);
      if (match !== here) old.insertBefore(match, here);
    }
    if (match.nodeType === Node.ELEMENT_NODE) patch(match, wanted);
    else if (match.data !== wanted.data) match.data = wanted.data;
    here = match.nextSibling;
  }
  while (here) here = removed(here);
}

function stays(node, fresh) {
  return Boolean(node.id) && [...fresh.children].some((child) => child.id === node.id);
}

function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}
