/* The page Model: ask for a retrain and see how far it is; more samples, and what findings mean. */

import { ask, Problem } from "./api.js";
import { byId, el, notice, wait, words } from "./dom.js";
import { FINDINGS } from "./findings.js";
import { beginPairs } from "./model_pairs.js";
import { beginRollback } from "./model_rollback.js";

const KEPT = "adloom.retrain";
const POLL_MILLISECONDS = 2000;
const ENDED = { promoted: "A better model was made and promoted.", refused: "The new model was not better: the champion stays.", failed: "The retrain failed: the champion stays.", dismissed: "The retrain was not started." };

const CAUSES = { drift: "Because of drift", feedback: "Because of feedback", schedule: "By the schedule" };

const step = (text, state) => el("li", { class: state, text, "aria-current": state === "now" ? "step" : null });

const show = (row) => {
  const over = row.state in ENDED;
  const started = Boolean(row.started_at) || row.state === "running";
  const after = (isDone, isNow) => (isDone ? "done" : isNow ? "now" : "");
  byId("steps").replaceChildren(
    step("Asked for", "done"),
    step("Waiting for the pipelines", after(started || over, row.state === "waiting")),
    step(row.dataset_digest ? `Dataset built: ${row.dataset_digest.slice(0, 12)}` : "Build the dataset", after(row.dataset_digest, row.state === "running" && !row.dataset_digest)),
    step(row.run_id ? `Trained in run ${row.run_id.slice(0, 12)}` : "Train and evaluate", after(row.run_id && (row.version || over), row.dataset_digest && !over && !row.version)),
    step(row.version ? `Registered as version ${row.version}` : "Compare with the champion", after(row.state === "promoted", row.version && !over)),
    step(over ? ENDED[row.state] : "Promote, or keep the champion", over ? (row.state === "promoted" ? "done" : "bad") : ""),
  );
  byId("retrain-why").textContent = row.why || "";
  byId("retrain-who").textContent = CAUSES[row.trigger] ?? `Asked for by ${row.asked_by}: ${row.cause.reason ?? ""}`;
  byId("retrain-id").textContent = row.id;
  byId("retrain-panel").hidden = false;
  return over;
};

const trouble = (error) => byId("retrain-trouble").replaceChildren(notice(error instanceof Problem ? error.message : "Something went wrong: load the page again."));

let hasFailed = false;
/* Whether it was the last look. */
const look = async (id) => {
  try {
    const over = show(await ask("GET", `/api/retrains/${id}`));
    if (hasFailed) { byId("retrain-trouble").replaceChildren(); }
    hasFailed = false;
    return over;
  } catch (error) {
    hasFailed = true;
    trouble(error);
    return !(error instanceof Problem) || error.isFinal;
  }
};

const followed = new Set();
const follow = async (id) => {
  if (followed.has(id)) { return; }
  followed.add(id);
  while (!await look(id)) { await wait(POLL_MILLISECONDS); }
  followed.delete(id);
  sessionStorage.removeItem(KEPT);
};

byId("retrain")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const reason = byId("reason");
  byId("ask").disabled = true;
  byId("retrain-trouble").replaceChildren();
  try {
    const made = await ask("POST", "/api/retrains", { reason: reason.value.trim() }, { headers: { "Idempotency-Key": crypto.randomUUID() } });
    sessionStorage.setItem(KEPT, made.id);
    reason.value = "";
    await follow(made.id);
  } catch (error) {
    trouble(error);
    const open = error.message?.match(/rt_[0-9a-f]{32}/u)?.[0];
    if (open) { byId("retrain-trouble").append(words("p", "That one is shown here:", { class: "small soft" })); await follow(open); }
  } finally { byId("ask").disabled = false; }
});

for (const item of document.querySelectorAll("[data-finding]")) {
  const says = FINDINGS[item.dataset.finding];
  if (says) { item.append(words("span", says)); }
}
byId("more-samples")?.addEventListener("click", (event) => {
  const later = [...document.querySelectorAll(".samples .later")];
  for (const item of later) { item.hidden = false; }
  later[0]?.setAttribute("tabindex", "-1");
  later[0]?.focus();
  event.currentTarget.parentElement.hidden = true;
});

beginPairs();
beginRollback();
// What drift or somebody else led to is shown as what one asked for oneself.
const shown = byId("retrain-panel")?.dataset.open || sessionStorage.getItem(KEPT);
if (shown) { follow(shown); }
