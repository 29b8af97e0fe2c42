// Whether the service still answers, found out every few seconds while somebody looks at the page.

import * as api from "./api.js";

const SECONDS = 4;

// `onGone()` and `onBack()` are told once at each change.
export function watchHealth({ onGone, onBack }) {
  let there = true;
  api.watchReach((answered) => {
    if (answered === there) return;
    there = answered;
    (there ? onBack : onGone)();
  });
  const ask = () => document.visibilityState === "visible" && api.readiness().catch(() => {}); // `watchReach` is told
  setInterval(ask, SECONDS * 1000);
  document.addEventListener("visibilitychange", ask);
}
