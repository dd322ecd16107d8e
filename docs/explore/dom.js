// Small helpers to make elements. Text is always set as text, never as HTML.

/** element("p", {class: "x"}, "text", child, …) */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** The same for SVG. */
export function shape(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export const byId = (id) => document.getElementById(id);

/** A number as people write it: at most six digits, null as "the end". */
export function text(value) {
  if (value === null || value === undefined) return "to the end";
  if (Array.isArray(value)) return `(${value.map(text).join(", ")})`;
  return typeof value === "number" ? String(Number(value.toPrecision(9))) : String(value);
}

/** A block of code with a button that copies it. */
export function code(source) {
  const button = element("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return element("div", { class: "code" }, element("pre", {}, element("code", {}, source)), button);
}

/** A select of all frameworks. */
export function choice(select, frameworks, chosen) {
  select.replaceChildren(
    ...frameworks.map(({ name, title }) =>
      element("option", { value: name, selected: name === chosen ? "" : null }, `${title} (${name})`),
    ),
  );
}
