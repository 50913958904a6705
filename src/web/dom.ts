// Elements of the page. What is shown comes from the network and from users, so text is put in as text, never as markup. What is
// shown already is patched, not replaced: focus, selection and a click that has begun stay.

type Content = Node | string | false | null | undefined;
type Properties = Readonly<Record<string, string | number | boolean | ((event: Event) => void) | undefined>>;

/** Functions among the properties are handlers, as `onclick`; all else are attributes. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties = {},
  ...content: readonly Content[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (typeof value === 'function') handlersOf(element)[name] = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...content.filter((each): each is Node | string => each instanceof Node || typeof each === 'string'));
  return element;
}

/** A swatch of a colour that is not known to the style sheet. */
export function swatch(colour: string): HTMLElement {
  const element = el('span', { class: 'swatch', 'aria-hidden': 'true' });
  element.style.backgroundColor = colour;
  return element;
}

/** An element of the page itself. Throws where it has none. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no ${id}`);
  return element as T;
}

const HANDLERS = ['onclick', 'onchange', 'onmouseenter', 'onmouseleave'] as const;

function handlersOf(element: HTMLElement): Record<string, unknown> {
  return element as unknown as Record<string, unknown>;
}

/** Makes the content of an element what is given, changing only what differs. */
export function show(element: Element, ...content: readonly Content[]): void {
  const wanted = document.createElement('div');
  wanted.append(...content.filter((each): each is Node | string => each instanceof Node || typeof each === 'string'));
  patchChildren(element, wanted);
}

function patchChildren(present: Node, wanted: Node): void {
  const children = [...wanted.childNodes];
  children.forEach((child, index) => {
    const old = present.childNodes[index];
    if (old === undefined) present.appendChild(child);
    else if (isAlike(old, child)) patch(old, child);
    else present.replaceChild(child, old);
  });
  while (present.childNodes.length > children.length) present.lastChild?.remove();
}

/** What has a key is another thing under another key. */
function isAlike(one: Node, other: Node): boolean {
  if (one.nodeName !== other.nodeName) return false;
  if (!(one instanceof HTMLElement) || !(other instanceof HTMLElement)) return true;
  return one.dataset['key'] === other.dataset['key'];
}

function patch(present: Node, wanted: Node): void {
  if (!(present instanceof HTMLElement) || !(wanted instanceof HTMLElement)) {
    if (present.textContent !== wanted.textContent) present.textContent = wanted.textContent;
    return;
  }
  for (const { name } of [...present.attributes]) {
    if (name !== 'style' && !wanted.hasAttribute(name)) present.removeAttribute(name);
  }
  for (const { name, value } of [...wanted.attributes]) {
    if (name !== 'style' && present.getAttribute(name) !== value) present.setAttribute(name, value);
  }
  // The page's rules allow no style attributes, but their properties.
  if (present.style.cssText !== wanted.style.cssText) present.style.cssText = wanted.style.cssText;
  for (const name of HANDLERS) present[name] = wanted[name] as null;
  patchChildren(present, wanted);
}
