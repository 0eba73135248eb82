// Pages work without this script; it makes them quicker to use.
"use strict";

// Parts that the server changes while they are looked at.
for (const part of document.querySelectorAll("[data-live]")) {
  const status = document.getElementById(part.dataset.status);
  const events = new EventSource(part.dataset.live);
  events.onopen = () => { if (status) status.textContent = "live"; };
  events.onerror = () => { if (status) status.textContent = "not connected; trying again"; };
  events.onmessage = (event) => {
    // The server's own templates made this text, and they escape every value.
    if (!part.contains(document.activeElement)) part.innerHTML = event.data;
  };
  addEventListener("pagehide", () => events.close());
}

// Text that the server checks while it is written.
for (const area of document.querySelectorAll("[data-check]")) {
  const verdict = document.getElementById(area.dataset.verdict);
  let timer = 0;
  let number = 0;
  const check = async () => {
    const mine = ++number;
    const body = new URLSearchParams({ csrf: area.form.elements.csrf.value, text: area.value });
    const answer = await fetch(area.dataset.check, { method: "POST", body });
    if (mine !== number || !answer.ok) return;
    const found = await answer.json();
    verdict.textContent = found.message;
    verdict.className = found.ok ? "verdict good" : "verdict bad";
    area.setAttribute("aria-invalid", String(!found.ok));
  };
  area.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(check, 300);
  });
}

// Tab stays a key that moves on; Ctrl+S sends the form one is in.
addEventListener("keydown", (event) => {
  const form = document.activeElement?.form;
  if ((event.ctrlKey || event.metaKey) && event.key === "s" && form?.dataset.save !== undefined) {
    event.preventDefault();
    form.requestSubmit();
  }
});

// What was written and not sent must not be lost by a slip.
let unsent = false;
for (const form of document.querySelectorAll("form[data-save]")) {
  form.addEventListener("input", () => { unsent = true; });
  form.addEventListener("submit", () => { unsent = false; });
}
addEventListener("beforeunload", (event) => { if (unsent) event.preventDefault(); });

// Rows that hold what is written into the field above them.
for (const field of document.querySelectorAll("[data-filter]")) {
  const rows = document.querySelectorAll(field.dataset.filter);
  field.closest("[hidden]")?.removeAttribute("hidden");
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
