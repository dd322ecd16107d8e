// Runs Python (Pyodide) beside the page, so that the page stays responsive.
// Messages in: {id, call, args} or {id, put: name, bytes}. Messages out: {id, result} or {id, error}.
/* global BASE, loadPyodide */

const report = (text, share) => postMessage({ progress: text, share });

async function start() {
  report("Loading Python", 0.1);
  const { loadPyodide } = await import(`${BASE}pyodide/pyodide.mjs`);
  const python = await loadPyodide({ indexURL: `${BASE}pyodide/`, checkAPIVersion: false });
  report("Loading lrnorm", 0.8);
  const list = await (await fetch(`${BASE}python/files.json`)).json();
  for (const name of list) {
    const bytes = new Uint8Array(await (await fetch(`${BASE}python/${name}`)).arrayBuffer());
    if (name.endsWith(".py")) python.FS.writeFile(`/home/pyodide/${name}`, bytes);
    else python.unpackArchive(bytes, name.endsWith(".whl") ? "whl" : "zip");
  }
  python.FS.mkdir("/models");
  const bridge = python.pyimport("bridge");
  report("Ready", 1);
  return { python, bridge };
}

const started = start();
started.catch((error) => postMessage({ failed: String(error.message || error) }));

onmessage = async ({ data }) => {
  try {
    const { python, bridge } = await started;
    if (data.put !== undefined) {
      const path = `/models/${data.put}`;
      python.FS.writeFile(path, data.bytes);
      postMessage({ id: data.id, result: path });
    } else if (data.drop !== undefined) {
      python.FS.unlink(data.drop);
      postMessage({ id: data.id, result: null });
    } else {
      postMessage({ id: data.id, result: JSON.parse(bridge[data.call](...data.args)) });
    }
  } catch (error) {
    postMessage({ id: data.id, error: String(error.message || error).trim().split("\n").at(-1) });
  }
};
