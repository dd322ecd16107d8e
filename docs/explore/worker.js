// Runs Python (Pyodide) beside the page, so that the page stays responsive.
// Messages in: {id, call, args}, {id, put: name, folder, bytes}, {id, empty: folder}.
// Messages out: {id, result}, {id, error}, {progress, share}, {failed}.
/* global BASE */

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
      python.FS.mkdirTree(data.folder);
      python.FS.writeFile(`${data.folder}/${data.put}`, data.bytes);
      postMessage({ id: data.id, result: `${data.folder}/${data.put}` });
    } else if (data.empty !== undefined) {
      python.FS.mkdirTree(data.empty);
      for (const name of python.FS.readdir(data.empty)) {
        if (name !== "." && name !== "..") python.FS.unlink(`${data.empty}/${name}`);
      }
      postMessage({ id: data.id, result: null });
    } else {
      postMessage({ id: data.id, result: JSON.parse(bridge[data.call](...data.args)) });
    }
  } catch (error) {
    postMessage({ id: data.id, error: String(error.message || error).trim().split("\n").at(-1) });
  }
};
