// The page in a real browser: every example, a damaged file, a comparison, every translation, and
// no request to another address. Run by `make site-test`; PYTHON is an interpreter with lrnorm.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const { chromium } = createRequire(`${root}/build/npm/`)("playwright-core");
const site = path.join(root, "build/docs");
const shots = process.env.SCREENSHOTS;
const TYPES = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json" };
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const PATIENCE = 120_000;

let server, browser, page, origin;
const addresses = [];
const complaints = [];

before(async () => {
  server = http.createServer((request, answer) => {
    const file = path.join(site, decodeURIComponent(new URL(request.url, "http://x").pathname));
    if (!file.startsWith(site) || !fs.existsSync(file) || fs.statSync(file).isDirectory()) {
      answer.writeHead(404).end();
      return;
    }
    answer.writeHead(200, { "content-type": TYPES[path.extname(file)] ?? "application/octet-stream" });
    fs.createReadStream(file).pipe(answer);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${server.address().port}`;
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
  page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
  page.setDefaultTimeout(PATIENCE);
  page.on("request", (request) => addresses.push(request.url()));
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await open(page);
}, { timeout: PATIENCE });

after(async () => {
  await browser?.close();
  server?.close();
});

async function open(where, fragment = "") {
  await where.goto(`${origin}/explore/index.html${fragment}`);
  await where.waitForFunction(() => document.body.dataset.ready || document.querySelector("#status.problem"), null, { timeout: PATIENCE });
  assert.equal(await where.textContent("#status"), "Ready.");
}

async function shot(where, name) {
  if (shots) await where.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true });
}

/** The result for these files: [name, text] for the first and, if given, for the second side. */
async function read(...files) {
  await page.click("#clear");
  await page.waitForFunction(() => !document.querySelector("#model-result").hasChildNodes());
  for (const [i, [name, content]] of files.entries()) {
    const side = i ? "second" : "first";
    await page.setInputFiles(`#file-${side}`, { name, mimeType: "application/octet-stream", buffer: Buffer.from(content) });
    await page.waitForFunction((shown) => !document.body.dataset.busy && document.querySelector(shown).textContent !== "Drop a file here", `#name-${side}`);
  }
  return page.textContent("#model-result");
}

test("Python starts, and the time is told", async (t) => {
  const ready = Number(await page.evaluate(() => document.body.dataset.ready));
  assert.ok(ready > 0);
  t.diagnostic(`usable after ${ready} ms`);
});

test("a Caffe example is read, and translated", async () => {
  await page.click("text=a Caffe net");
  await page.waitForSelector("#model-calls pre");
  const cells = await page.$$eval("#model-result tbody tr:first-child td", (all) => all.map((td) => td.textContent));
  assert.deepEqual(cells.slice(0, 6), ["0.00002", "0.75", "2", "2", "2", "caffe: local_size 5, alpha 0.0001, beta 0.75, k 2"]);
  assert.match(await page.textContent("#model-calls"), /torch\.nn\.LocalResponseNorm\(size=5, alpha=0\.0001, beta=0\.75, k=2\.0\)/);
  await page.selectOption("#model-target", "tensorflow");
  await page.waitForFunction(() => document.querySelector("#model-calls").textContent.includes("depth_radius=2"));
});

test("a comparison names the mistakes", async () => {
  await page.click("text=the same net, converted wrongly");
  await page.waitForSelector("#model-result h2:has-text('What the conversion changed')");
  const text = await page.textContent("#model-result");
  assert.match(text, /Because: alpha was divided by the size twice/);
  assert.match(text, /Because: the bias \(k\) 2 was dropped/);
  await shot(page, "compare");
});

test("a Darknet example is read", async () => {
  await page.click("text=a Darknet net");
  await page.waitForSelector("#model-result caption:has-text('extraction.cfg')");
  assert.match(await page.textContent("#model-result tbody"), /darknet: size 5/);
});

test("a damaged file is one sentence", async () => {
  const text = await read(["net.onnx", "\u0008\u0007 not a model"]);
  assert.match(text, /net\.onnx/);
  assert.equal(await page.locator("#model-result table").count(), 0);
  assert.equal(await page.locator("#model-result [role=alert]").count(), 1);
  await shot(page, "error");
});

test("a file without an LRN says what it holds", async () => {
  const text = await read(["net.cfg", "[net]\nwidth=8\n[dropout]\nprobability=.5\n"]);
  assert.match(text, /holds no LRN: it is a Darknet net \(\.cfg\) of 1 operator/);
});

test("two files that agree say so", async () => {
  const net = 'layer { name: "n" type: "LRN" lrn_param { alpha: 1e-4 } }';
  assert.match(await read(["a.prototxt", net], ["b.prototxt", net]), /Nothing: every LRN computes the same/);
});

test("text of a file never becomes part of the page", async () => {
  await read(["x.prototxt", 'layer { name: "<img src=x onerror=alert(1)>" type: "LRN" }']);
  assert.equal(await page.locator("#model-result img").count(), 0);
  assert.match(await page.textContent("#model-result th[scope=row]"), /<img src=x/);
});

test("every translation is what Python gives", async () => {
  const expected = JSON.parse(execFileSync(process.env.PYTHON ?? "python3", [path.join(root, "tests/site/expected.py")], { encoding: "utf8", maxBuffer: 2 ** 26 }));
  await page.click("#tab-translate");
  const names = Object.keys(expected);
  assert.ok(names.length > 30);
  for (const name of names) {
    await page.selectOption("#translate-source", name);
    await page.waitForFunction((spec) => document.querySelector("#translate-result")?.textContent.startsWith(spec), expected[name].text, { timeout: 20_000 });
    const shown = await page.$$eval("#translate-result tr", (rows) => Object.fromEntries(rows.map((row) => [row.dataset.name, row.querySelector("pre")?.textContent ?? null])));
    assert.deepEqual(shown, expected[name].calls, name);
  }
  await page.selectOption("#translate-source", "caffe");
  await page.fill("#translate-words input[name=local_size]", "4");
  await page.waitForSelector("#translate-result .problem");
  assert.match(await page.textContent("#translate-result"), /must be odd/);
});

test("sliders redraw, and a link holds the numbers", async () => {
  await page.click("#tab-explore");
  await page.waitForSelector("#picture-window svg");
  await page.fill("#slider-beta", "20");
  await page.waitForFunction(() => document.querySelector("#explore-formula").textContent.includes(")^-1,"));
  const lines = (await page.textContent("#explore-lines")).split("\n");
  assert.equal(lines.length, 9);
  await page.click("#explore-link");
  assert.match(page.url(), /#scale=0\.2&beta=1&bias=1&before=2&after=2$/);
  await shot(page, "explore");
  const other = await browser.newPage({ viewport: { width: 360, height: 740 }, colorScheme: "dark" });
  await open(other, "#scale=0.5&beta=0.75&bias=2&before=0&after=end");
  await other.waitForFunction(() => document.querySelector("#explore-formula").textContent !== "");
  assert.match(await other.textContent("#explore-formula"), /2 \+ 0\.5 · Σ x\[j\]²\)\^-0\.75, {2}j = c … N-1/);
  const wider = await other.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  assert.equal(wider, false, "the page is wider than a small screen");
  await shot(other, "phone-explore");
  await other.click("#tab-model");
  await other.click("text=a Caffe net");
  await other.waitForSelector("#model-result table");
  assert.equal(await other.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth), false);
  await shot(other, "phone-model");
  await other.close();
});

test("the tabs work by keyboard", async () => {
  await page.focus("#tab-explore");
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.getAttribute("#tab-model", "aria-selected"), "true");
  assert.equal(await page.isVisible("#explore"), false);
});

test("no request left the page's own address, and nothing complained", () => {
  const own = (address) => address.startsWith(`${origin}/`) || /^(data|blob):/.test(address);
  assert.deepEqual(addresses.filter((address) => !own(address)), []);
  assert.ok(addresses.some((address) => address.endsWith("pyodide.asm.wasm")));
  assert.deepEqual(complaints, []);
});

test("the policy refuses other addresses", async () => {
  const refused = await page.evaluate(async () => {
    try {
      await fetch("http://127.0.0.2:1/");
      return false;
    } catch {
      return true;
    }
  });
  assert.ok(refused);
  assert.ok(complaints.some((text) => text.includes("Content Security Policy")));
});
