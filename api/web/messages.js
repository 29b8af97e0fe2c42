// What the page says: whether the model is there, that there is nothing, what went wrong.

import { find, make } from "./dom.js";

export function showState(kind, text) {
  find("state").className = `state ${kind}`;
  find("state").lastElementChild.textContent = text;
}

export function showError(sentence) {
  find("error").textContent = sentence;
  find("error").hidden = false;
}

export function showEmpty(title, collection) {
  hideMessages();
  find("summary").textContent = "";
  find("results").replaceChildren();
  find("empty").replaceChildren(
    make("h2", {}, title),
    make("p", {}, "Put a folder of pictures into it, then reload this page:"),
    make("code", {}, `anyseek index FOLDER --collection ${collection}`),
  );
  find("empty").hidden = false;
}

export function hideMessages() {
  find("error").hidden = find("empty").hidden = true;
}

// Asks for an API key; `onKey` is told the one that was given.
export function askForKey(onKey) {
  const dialog = find("key-dialog");
  dialog.onclose = () => {
    const key = find("key").value;
    find("key").value = "";
    if (!key) return;
    hideMessages();
    onKey(key);
  };
  if (!dialog.open) dialog.showModal();
}
