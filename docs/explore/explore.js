// The tab "Explore": five numbers as sliders, the window, the response curve and one output.

import { byId, element, shape } from "./dom.js";
import { call } from "./python.js";

const CHANNELS = 16;
const CHANNEL = 6;
// A slider runs over positions; `of` gives the number at a position, `at` the position of a number.
const SLIDERS = {
  scale: { min: 0, max: 60, of: (p) => (p ? Number((10 ** (p / 10 - 5)).toPrecision(2)) : 0), at: (n) => (n > 0 ? Math.round(10 * (Math.log10(n) + 5)) : 0) },
  beta: { min: -20, max: 60, of: (p) => p / 20, at: (n) => Math.round(n * 20) },
  bias: { min: 0, max: 60, of: (p) => p / 20, at: (n) => Math.round(n * 20) },
  before: { min: 0, max: CHANNELS, of: (p) => (p === CHANNELS ? null : p), at: (n) => (n === null ? CHANNELS : Math.min(n, CHANNELS)) },
  after: { min: 0, max: CHANNELS, of: (p) => (p === CHANNELS ? null : p), at: (n) => (n === null ? CHANNELS : Math.min(n, CHANNELS)) },
};
let numbers = { scale: 0.2, beta: 0.5, bias: 1, before: 2, after: 2 };
let drawn = 0;

/** The five numbers of a link's fragment, or null. */
export function numbersOf(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const names = Object.keys(SLIDERS);
  if (!names.every((name) => given.has(name))) return null;
  const found = Object.fromEntries(names.map((name) => [name, given.get(name) === "end" ? null : Number(given.get(name))]));
  const whole = ["before", "after"].every((name) => found[name] === null || (Number.isInteger(found[name]) && found[name] >= 0));
  return whole && ["scale", "beta", "bias"].every((name) => Number.isFinite(found[name])) ? found : null;
}

export function setUpExplore(linked) {
  numbers = linked ?? numbers;
  byId("explore-form").replaceChildren(
    ...Object.entries(SLIDERS).map(([name, { min, max, of, at }]) => {
      const output = element("output", { for: `slider-${name}` }, said(numbers[name]));
      const input = element("input", { type: "range", id: `slider-${name}`, min, max, value: at(numbers[name]) });
      input.setAttribute("aria-valuetext", said(numbers[name]));
      input.addEventListener("input", () => {
        numbers[name] = of(Number(input.value));
        output.textContent = said(numbers[name]);
        input.setAttribute("aria-valuetext", said(numbers[name]));
        draw();
      });
      return element("label", {}, name, output, input);
    }),
  );
  byId("explore-link").addEventListener("click", async () => {
    const fragment = new URLSearchParams(Object.entries(numbers).map(([name, n]) => [name, n ?? "end"])).toString();
    history.replaceState(null, "", `#${fragment}`);
    await navigator.clipboard?.writeText(location.href).catch(() => {});
  });
  draw();
}

const said = (number) => (number === null ? "to the end" : String(number));

async function draw() {
  const turn = ++drawn;
  const found = await call("explore", JSON.stringify(numbers), CHANNELS, CHANNEL);
  if (turn !== drawn) return; // a later position of a slider is under way
  byId("explore-formula").textContent = found.error ?? found.formula;
  if (found.error) return;
  byId("explore-lines").textContent = found.lines.join("\n");
  byId("picture-window").replaceChildren(windowPicture(found));
  byId("picture-curve").replaceChildren(curvePicture(found.curve));
}

const WIDTH = 420;
const HEIGHT = 240;
const LEFT = 40;
const BOTTOM = 210;

function frame(label, below) {
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  svg.append(shape("line", { class: "axis", x1: LEFT, y1: BOTTOM, x2: WIDTH - 10, y2: BOTTOM }), shape("line", { class: "axis", x1: LEFT, y1: 10, x2: LEFT, y2: BOTTOM }));
  svg.append(shape("text", { x: WIDTH - 10, y: BOTTOM + 28, "text-anchor": "end" }, below));
  return svg;
}

function scaled(values) {
  const finite = values.filter((v) => v !== null);
  const top = Math.max(...finite, 1e-9);
  return { top, y: (v) => BOTTOM - (Math.max(0, Math.min(v, top)) / top) * (BOTTOM - 20) };
}

function windowPicture({ x, y, window: [first, last] }) {
  const svg = frame(`Values of ${x.length} channels before and after; the window of channel ${CHANNEL} is ${first} to ${last}`, "channel");
  const step = (WIDTH - LEFT - 10) / x.length;
  const { top, y: height } = scaled([...x, ...y]);
  svg.append(shape("rect", { class: "shade", x: LEFT + first * step, y: 10, width: (last - first + 1) * step, height: BOTTOM - 10 }));
  y.forEach((v, c) => {
    if (v !== null) svg.append(shape("rect", { class: "bar", x: LEFT + c * step + step * 0.2, y: height(v), width: step * 0.6, height: BOTTOM - height(v) }));
    if (c % 3 === 0) svg.append(shape("text", { x: LEFT + (c + 0.5) * step, y: BOTTOM + 14, "text-anchor": "middle" }, String(c)));
  });
  svg.append(shape("polyline", { class: "line", points: x.map((v, c) => `${LEFT + (c + 0.5) * step},${height(v)}`).join(" ") }));
  svg.append(shape("text", { x: LEFT - 6, y: 24, "text-anchor": "end" }, top.toPrecision(2)));
  return svg;
}

function curvePicture(curve) {
  const svg = frame("The factor D to the power of minus beta, by the energy in the window", "Σ x²");
  const { top, y: height } = scaled(curve.map(([, factor]) => factor));
  const most = curve.at(-1)[0];
  const points = curve.filter(([, factor]) => factor !== null).map(([energy, factor]) => `${LEFT + (energy / most) * (WIDTH - LEFT - 10)},${height(factor)}`);
  svg.append(shape("polyline", { class: "line", points: points.join(" ") }));
  svg.append(shape("text", { x: LEFT - 6, y: 24, "text-anchor": "end" }, top.toPrecision(2)));
  svg.append(shape("text", { x: LEFT, y: BOTTOM + 14 }, "0"), shape("text", { x: WIDTH - 60, y: BOTTOM + 14, "text-anchor": "end" }, String(most)));
  return svg;
}
