// Messages about the service: its state, errors, and the request for an API key.

import { find } from "./dom.js";

export function showState(kind, text, title = "") {
  find("state").className = `state ${kind}`;
  find("state").title = title;
  find("state").lastElementChild.textContent = text;
}

export function showError(sentence) {
  find("error").textContent = sentence;
  find("error").hidden = false;
}

export function hideMessages() {
  find("error").hidden = find("empty").hidden = true;
}

// Asks for an API key and shows why the last one was refused; calls `onKey` with the new key.
export function askForKey(wrong, onKey) {
  const dialog = find("key-dialog");
  find("key-wrong").textContent = wrong ?? "";
  find("key-wrong").hidden = !wrong;
  dialog.onclose = () => {
    const key = find("key").value.trim();
    find("key").value = "";
    if (!key) return;
    hideMessages();
    onKey(key);
  };
  if (!dialog.open) dialog.showModal();
}
