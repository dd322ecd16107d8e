// The page's way to Python: put(file) hands bytes over, call(name, …) runs a function of bridge.py.

const base = new URL("./", import.meta.url).href;
let worker;
let next = 0;
const waiting = new Map();

/** Starts Python. `onProgress(text, share)` is told how far it is; `onFailure(text)` why it is not. */
export async function start(onProgress, onFailure) {
  const source = await (await fetch(`${base}worker.js`)).text();
  // A worker made from a blob keeps the page's content security policy; one from a URL would not.
  const text = `const BASE = ${JSON.stringify(base)};\n${source}`;
  const blob = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  worker = new Worker(blob, { type: "module" });
  worker.onerror = (event) => onFailure(event.message || "the worker did not start");
  worker.onmessage = ({ data }) => {
    if (data.progress) onProgress(data.progress, data.share);
    else if (data.failed) onFailure(data.failed);
    else {
      const { resolve, reject } = waiting.get(data.id);
      waiting.delete(data.id);
      if (data.error) reject(new Error(data.error));
      else resolve(data.result);
    }
  };
}

function send(message, transfer = []) {
  return new Promise((resolve, reject) => {
    const id = next++;
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, ...message }, transfer);
  });
}

export const call = (name, ...args) => send({ call: name, args });

/** Hands the bytes of a file to Python; the result is its path there. */
export async function put(folder, name, buffer) {
  const bytes = new Uint8Array(buffer);
  return send({ put: name.replaceAll("/", "_"), folder, bytes }, [bytes.buffer]);
}

/** Removes the files of a folder of Python's. */
export const empty = (folder) => send({ empty: folder });
