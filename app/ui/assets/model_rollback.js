/* Going back to an earlier version: asked for in a dialog, followed step by step, taken back while it waits. */

import { ask, Problem } from "./api.js";
import { byId, el, notice, wait, words } from "./dom.js";

const KEPT = "adloom.rollback";
const POLL_MILLISECONDS = 2000;
const ENDED = {
  done: (row) => `Version ${row.to} is champion again`, refused: () => "Refused: nothing was changed",
  failed: () => "It failed: look at the reason", withdrawn: () => "Taken back: nothing was changed",
};
const ADDRESS = /(https:\/\/[^\s"'<>]+[^\s"'<>.,;:)])/u;

const step = (text, state) => el("li", { class: state, text, "aria-current": state === "now" ? "step" : null });

/* Text with its https addresses as links. */
const linked = (text) => text.split(ADDRESS).map((part, place) =>
  (place % 2 ? el("a", { href: part, rel: "noreferrer noopener", target: "_blank", text: part }) : part));

const show = (row) => {
  const over = row.state in ENDED;
  const begun = Boolean(row.started_at) || row.state === "running" || row.state === "done";
  const target = row.to ? `version ${row.to}` : "the champion before";
  const last = over ? ENDED[row.state](row) : `Make ${target} champion again`;
  byId("rollback-title").textContent = `Going back to ${target}${row.from ? `, from version ${row.from}` : ""}`;
  byId("rollback-steps").replaceChildren(
    step("Asked for", "done"),
    step("Waiting for the pipelines", begun ? "done" : over ? "" : "now"),
    step("Carrying it out", row.state === "running" ? "now" : row.state === "done" ? "done" : ""),
    step(last, row.state === "done" ? "done" : over ? "bad" : ""),
  );
  byId("rollback-why").replaceChildren(...linked(row.why || ""), ...(row.state === "done" ? [" ", el("a", { href: "/model", text: "Load the page again" }), " to see it as champion."] : []));
  byId("rollback-who").textContent = row.asked_by;
  byId("rollback-reason").textContent = row.reason;
  byId("rollback-id").textContent = row.id;
  byId("rollback-withdraw").hidden = row.state !== "waiting";
  byId("rollback-panel").hidden = false;
  return over;
};

/* The service's words, without the addresses that are for programs. */
const plain = (text) => text.replace(/: GET \/v1\/\S+( says more)?\.$/u, ".");
const said = (error, before = "") => notice(error instanceof Problem ? `${before}${plain(error.message)}` : "Something went wrong: load the page again.");
const tell = (place, ...shown) => byId(place).replaceChildren(...shown);

/* Whether it was the last look. */
const look = async (id) => {
  try {
    const over = show(await ask("GET", `/api/rollbacks/${id}`));
    tell("rollback-trouble");
    return over;
  } catch (error) {
    byId("rollback-panel").hidden = false;
    tell("rollback-trouble", said(error));
    return !(error instanceof Problem) || error.isFinal;
  }
};

let current = "";
const followed = new Set();
const follow = async (id) => {
  current = id;
  sessionStorage.setItem(KEPT, id);
  if (followed.has(id)) { return; }
  followed.add(id);
  while (current === id) {
    if (await look(id)) { sessionStorage.removeItem(KEPT); break; }
    await wait(POLL_MILLISECONDS);
  }
  followed.delete(id);
};

const withdraw = async () => {
  byId("rollback-withdraw").disabled = true;
  tell("rollback-refused");
  try {
    show(await ask("DELETE", `/api/rollbacks/${current}`));
  } catch (error) { tell("rollback-refused", said(error, "It was not taken back. ")); }
  byId("rollback-withdraw").disabled = false;
  await follow(current);
};

/* What is wrong with the form, beside the field that it is about. */
const wrong = (field, text) => {
  field.setAttribute("aria-invalid", "true");
  tell("rollback-form-trouble", notice(text));
  field.focus();
  return null;
};

const filled = () => {
  const to = byId("rollback-to").value;
  const [reason, number] = [byId("rollback-reason-field"), byId("rollback-number")];
  for (const field of [reason, number]) { field.removeAttribute("aria-invalid"); }
  if (!reason.value.trim()) { return wrong(reason, "Say why: whoever looks at the history has to know."); }
  if (number.value.trim() !== to) { return wrong(number, `Type ${to} to confirm that this is the version you mean.`); }
  return { to, reason: reason.value.trim() };
};

const send = async (dialog) => {
  const sent = filled();
  if (!sent) { return; }
  byId("rollback-ask").disabled = true;
  try {
    const made = await ask("POST", "/api/rollbacks", sent, { headers: { "Idempotency-Key": crypto.randomUUID() } });
    dialog.close();
    for (const field of ["rollback-reason-field", "rollback-number"]) { byId(field).value = ""; }
    const following = follow(made.id);
    byId("rollback-panel").hidden = false;
    byId("rollback-panel").focus({ preventScroll: true });
    byId("rollback-panel").scrollIntoView();
    await following;
  } catch (error) {
    tell("rollback-form-trouble", said(error));
    const open = error.message?.match(/rb_[0-9a-f]{32}/u)?.[0];
    if (open) {
      byId("rollback-form-trouble").append(words("p", "That one is shown on the page, behind this window.", { class: "small soft" }));
      await follow(open);
    }
  } finally { byId("rollback-ask").disabled = false; }
};

export const beginRollback = () => {
  byId("rollback-withdraw")?.addEventListener("click", withdraw);
  const dialog = byId("rollback");
  byId("go-back")?.addEventListener("click", () => { tell("rollback-form-trouble"); dialog.showModal(); });
  byId("rollback-cancel")?.addEventListener("click", () => dialog.close());
  byId("rollback-to")?.addEventListener("change", (event) => {
    for (const place of dialog.querySelectorAll(".to-number")) { place.textContent = event.target.value; }
  });
  byId("rollback-form")?.addEventListener("submit", (event) => { event.preventDefault(); send(dialog); });
  const open = byId("rollback-panel")?.dataset.open || sessionStorage.getItem(KEPT);
  if (open) { follow(open); }
};
