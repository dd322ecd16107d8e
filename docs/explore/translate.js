// The tab "Translate": a form with the parameters of one framework, and every other framework's call.

import { byId, choice, element } from "./dom.js";
import { call } from "./python.js";
import { said } from "./model.js";

let frameworks = [];

export function setUpTranslate(known) {
  frameworks = known;
  const source = byId("translate-source");
  choice(source, frameworks, "caffe");
  source.addEventListener("change", lay);
  byId("translate-form").addEventListener("submit", (event) => event.preventDefault());
  byId("translate-words").addEventListener("input", update);
  lay();
}

function lay() {
  const { words, formula, window, source, remark } = frameworks.find((f) => f.name === byId("translate-source").value);
  byId("translate-words").replaceChildren(
    ...words.map(([word, value]) =>
      element(
        "label",
        {},
        value === null ? `${word} (required)` : word,
        element("input", { type: "text", name: word, value: initial(value), spellcheck: "false", "data-kind": typeof value }),
      ),
    ),
  );
  byId("translate-about").textContent = [formula, window, remark, `Source: ${source}.`].filter(Boolean).join(" — ");
  update();
}

const initial = (value) => (value === null ? "5" : typeof value === "number" || typeof value === "string" ? String(value) : JSON.stringify(value));

/** What was typed, as a number, a truth value, a list, or text. */
function value(typed) {
  const plain = typed.trim();
  if (/^(true|false)$/i.test(plain)) return plain.toLowerCase() === "true";
  if (plain !== "" && Number.isFinite(Number(plain))) return Number(plain);
  try {
    return JSON.parse(plain);
  } catch {
    return plain;
  }
}

async function update() {
  const given = {};
  for (const input of byId("translate-words").querySelectorAll("input")) {
    if (input.value.trim() !== "") given[input.name] = value(input.value);
  }
  const source = byId("translate-source").value;
  const found = await call("translate", source, JSON.stringify(given));
  if (found.error) {
    byId("translate-result").replaceChildren(element("p", { class: "problem", role: "alert" }, found.error));
    return;
  }
  const rows = frameworks.map(({ name, title }) =>
    element("tr", { "data-name": name }, element("th", { scope: "row" }, title), element("td", {}, said(found.calls[name]))),
  );
  byId("translate-result").replaceChildren(
    element("p", { class: "formula", id: "translate-spec" }, found.text),
    element("table", {}, element("caption", {}, "In every framework"), element("tbody", {}, ...rows)),
  );
}
