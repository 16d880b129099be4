// Before anything is drawn: the theme that was chosen here, if it is not the system's.
(() => {
  try {
    const chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch { /* no storage, no choice */ }
})();
