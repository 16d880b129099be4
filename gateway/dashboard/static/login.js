// A link from elsewhere comes without the session's cookie. Asked from here, it is sent: then there is no need to log in.
(async () => {
  const form = document.querySelector("form[data-next]");
  if (!form || document.querySelector("[role=alert]")) return;
  const answer = await fetch(location.href, { redirect: "manual" });
  if (answer.type === "opaqueredirect") location.replace(form.dataset.next);
})();
