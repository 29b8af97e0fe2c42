// Files dropped on the page or pasted into it.

export function takeFiles(dropzone, onFiles) {
  let depth = 0; // a child is entered before its parent is left
  const enter = (change) => {
    depth = Math.max(0, depth + change);
    dropzone.hidden = depth === 0;
  };
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");

  document.addEventListener("dragenter", (event) => hasFiles(event) && enter(1));
  document.addEventListener("dragleave", (event) => hasFiles(event) && enter(-1));
  document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    enter(-depth);
    onFiles([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (!files.length) return;
    event.preventDefault();
    onFiles(files);
  });
}
