// The page: tabs, start of Python, and one module for each tab.

import { byId } from "./dom.js";
import { start, call } from "./python.js";
import { setUpModel } from "./model.js";
import { setUpTranslate } from "./translate.js";
import { setUpExplore, numbersOf } from "./explore.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

export function show(name) {
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !chosen;
  }
}

for (const [i, tab] of tabs.entries()) {
  tab.addEventListener("click", () => show(tab.id.slice(4)));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(i + step + tabs.length) % tabs.length];
    show(next.id.slice(4));
    next.focus();
  });
}

function fail(text) {
  const status = byId("status");
  status.className = "problem";
  status.textContent = text;
}

async function main() {
  if (typeof WebAssembly === "undefined" || typeof Worker === "undefined") {
    fail("This browser has no WebAssembly, which runs Python in this page. On the command line, lrnorm inspect MODEL says the same.");
    return;
  }
  const began = performance.now();
  await start(
    (text, share) => {
      byId("progress-text").textContent = text;
      byId("progress").value = share;
    },
    (text) => fail(`Python could not be started: ${text}. On the command line, lrnorm inspect MODEL says the same.`),
  );
  const frameworks = await call("frameworks");
  setUpModel(frameworks);
  setUpTranslate(frameworks);
  const linked = numbersOf(location.hash);
  setUpExplore(linked);
  if (linked) show("explore");
  document.body.dataset.ready = Math.round(performance.now() - began);
  byId("status").textContent = "Ready.";
}

main().catch((error) => fail(error.message));
