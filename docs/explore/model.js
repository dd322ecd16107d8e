// The tab "Model file": read one file, or compare two.

import { byId, choice, code, element, text } from "./dom.js";
import { call, empty, put } from "./python.js";

const NUMBERS = ["scale", "beta", "bias", "before", "after"];
const EXAMPLES = {
  "a Caffe net": ["alexnet.prototxt"],
  "the same net, converted wrongly to ncnn": ["alexnet.prototxt", "alexnet.param"],
  "a Darknet net": ["extraction.cfg"],
};
const WEIGHTS = /\.(bin|weights|params|data)$/i; // files that only stand beside a model
const sides = { first: null, second: null }; // each {name, path}
let frameworks = [];

export function setUpModel(known) {
  frameworks = known;
  for (const side of ["first", "second"]) {
    const input = byId(`file-${side}`);
    const area = byId(`drop-${side}`);
    input.addEventListener("change", () => take(side, [...input.files]));
    area.addEventListener("dragover", (event) => {
      event.preventDefault();
      area.classList.add("over");
    });
    area.addEventListener("dragleave", () => area.classList.remove("over"));
    area.addEventListener("drop", (event) => {
      event.preventDefault();
      area.classList.remove("over");
      take(side, [...event.dataTransfer.files]);
    });
  }
  byId("clear").addEventListener("click", clear);
  Object.entries(EXAMPLES).forEach(([label, names], i) => {
    byId("examples").append(
      i ? ", " : " ",
      element("button", { type: "button", class: "link", onclick: () => example(names) }, label),
    );
  });
  byId("examples").append(".");
}

async function example(names) {
  await forget("second");
  for (const [i, name] of names.entries()) {
    const response = await fetch(new URL(`examples/${name}`, import.meta.url));
    await take(i ? "second" : "first", [new File([await response.blob()], name)]);
  }
}

async function clear() {
  for (const side of ["first", "second"]) await forget(side);
  byId("model-result").replaceChildren();
}

async function forget(side) {
  await empty(`/models/${side}`);
  sides[side] = null;
  byId(`file-${side}`).value = "";
  byId(`name-${side}`).textContent = "Drop a file here";
}

async function take(side, files) {
  if (!files.length) return;
  document.body.dataset.busy = side;
  await forget(side);
  const file = files.find(({ name }) => !WEIGHTS.test(name)) ?? files[0];
  byId(`name-${side}`).textContent = files.map(({ name }) => name).join(", ");
  const result = byId("model-result");
  result.replaceChildren(element("p", {}, `Reading ${file.name} …`));
  try {
    for (const one of files) await put(`/models/${side}`, one.name, await one.arrayBuffer());
    sides[side] = { name: file.name, path: `/models/${side}/${file.name.replaceAll("/", "_")}` };
    await present();
  } catch (error) {
    result.replaceChildren(problem(`${file.name} cannot be read: ${error.message}`));
  }
  delete document.body.dataset.busy;
}

const problem = (message) => element("p", { class: "problem", role: "alert" }, message);

async function present() {
  const { first, second } = sides;
  const parts = [];
  let model = null;
  for (const side of ["first", "second"]) {
    if (!sides[side]) continue;
    const found = await call("inspect", sides[side].path);
    if (found.error) parts.push(problem(found.error));
    else parts.push(...described(found, sides[side].name));
    if (side === "first") model = found;
  }
  if (first && second) {
    const differences = await call("compare", first.path, second.path);
    if (!differences.error) parts.unshift(...compared(differences));
  }
  byId("model-result").replaceChildren(...parts);
  if (model && !model.error && model.lrns.length) byId("model-result").append(...translation(model));
}

function described(model, name) {
  if (!model.lrns.length) {
    return [problem(`${name} holds no LRN: it is a ${model.contents}. lrnorm.identify measures what a layer of another kind computes.`)];
  }
  const rows = model.lrns.map((lrn) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, lrn.name || "(no name)"),
      ...NUMBERS.map((n) => element("td", { class: "number" }, lrn.spec ? text(lrn.spec[n]) : "–")),
      element("td", {}, lrn.convention ? `${lrn.convention}: ${words(lrn.words)}` : "–"),
      element("td", {}, text(lrn.axis ?? "–")),
      element("td", {}, [lrn.dtype, lrn.shape && lrn.shape.map((n) => n ?? "?").join(" × ")].filter(Boolean).join(" ") || "–"),
      element("td", {}, ...lrn.remarks.map(remark)),
    ),
  );
  const heads = ["LRN", ...NUMBERS, "in the file's own words", "axis", "dtype and shape", "remarks"];
  return [
    element(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": `LRNs of ${name}` },
      element(
        "table",
        {},
        element("caption", {}, `${name}: ${model.contents}`),
        element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
        element("tbody", {}, ...rows),
      ),
    ),
    ...model.remarks.map(remark),
    element("p", {}, json(model, name)),
  ];
}

const words = (given) => Object.entries(given).map(([word, value]) => `${word} ${text(value)}`).join(", ");

function remark({ code: key, text: sentence, kind }) {
  return element(
    "details",
    { class: kind },
    element("summary", {}, key.replaceAll("_", " ")),
    element("p", {}, sentence),
  );
}

function json(model, name) {
  const address = `data:application/json;charset=utf-8,${encodeURIComponent(JSON.stringify(model, null, 1))}`;
  return element("a", { href: address, download: `${name}.lrn.json` }, "Result as JSON");
}

function compared(differences) {
  const title = element("h2", {}, "What the conversion changed");
  if (!differences.length) return [title, element("p", { class: "good" }, "Nothing: every LRN computes the same in both files.")];
  return [
    title,
    ...differences.map((difference) =>
      element(
        "div",
        { class: "problem" },
        element("strong", {}, difference.name || "LRN"),
        element("ul", {}, ...Object.entries(difference.differs).map(([number, [expected, found]]) =>
          element("li", {}, `${number}: ${text(expected)} expected, ${text(found)} found`))),
        ...(difference.mistakes.length
          ? difference.mistakes.map((mistake) => element("p", {}, `Because: ${mistake.text}.`))
          : [element("p", {}, "No known mistake explains it.")]),
      ),
    ),
  ];
}

function translation(model) {
  const select = element("select", { id: "model-target" });
  choice(select, frameworks, "torch");
  const out = element("div", { id: "model-calls" });
  const update = async () => {
    const made = await call("calls", select.value, JSON.stringify(model.lrns.map((lrn) => lrn.spec)));
    out.replaceChildren(...made.map((one, i) => element("div", {}, element("strong", {}, model.lrns[i].name), said(one))));
  };
  select.addEventListener("change", update);
  update();
  return [
    element("h2", {}, "The same in another framework"),
    element("p", {}, element("label", { for: "model-target" }, "Framework "), select),
    out,
  ];
}

/** The call of a framework, or why there is none and what comes nearest. */
export function said(one) {
  if (one.call !== undefined) return code(one.call);
  const nearest = Object.entries(one.nearest ?? {}).map(([word, value]) => `${word}=${text(value)}`).join(", ");
  return element("p", { class: "quiet" }, `Cannot be said: ${one.error}.${nearest ? ` Nearest: ${nearest}.` : ""}`);
}
