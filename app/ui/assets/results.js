/* What a run has written: filtered, accepted in bulk, downloaded. */

import { ask, Problem, request } from "./api.js";
import { Card, textsOf } from "./card.js";
import { byId, counted, el, notice, wait, words } from "./dom.js";
import { FINDINGS } from "./findings.js";

const SHOWN = 24;
const AT_ONCE = 4;

export class Results {
  constructor({ run, titleOf }) {
    this.run = run;
    this.titleOf = titleOf;
    this.channels = new Map();
    this.decisions = new Map();
    this.cards = new Map();
    this.limit = SHOWN;
    for (const id of ["filter-channel", "filter-finding", "filter-verdict", "filter-words"]) {
      byId(id).addEventListener("input", () => { this.limit = SHOWN; this.show(); });
    }
    byId("more").addEventListener("click", () => { this.limit += SHOWN; this.show(); });
    byId("accept-all").addEventListener("click", () => this.acceptAll());
    byId("download").addEventListener("click", () => this.download());
  }

  /* Products that could not be written, and those whose ads have findings and nobody has accepted. */
  toRepeat() {
    const bad = [...this.run().ads.values()].filter((ad) => ad.findings.length && !["accept", "edit"].includes(this.verdictOf(ad)));
    return new Set([...this.run().failed.keys(), ...bad.map((ad) => ad.sku)]);
  }

  verdictOf(ad) { return this.decisions.get(ad.id)?.verdict ?? ""; }

  matching() {
    const channel = byId("filter-channel").value;
    const finding = byId("filter-finding").value;
    const verdict = byId("filter-verdict").value;
    const text = byId("filter-words").value.trim().toLowerCase();
    return [...this.run().ads.values()].filter((ad) =>
      (!channel || ad.channel === channel) &&
      (!finding || (finding === "none" ? !ad.findings.length : finding === "any" ? ad.findings.length : ad.findings.some((each) => each.kind === finding))) &&
      (!verdict || (verdict === "open" ? !this.verdictOf(ad) : verdict === "reject" ? this.verdictOf(ad) === "reject" : ["accept", "edit"].includes(this.verdictOf(ad)))) &&
      (!text || `${ad.sku} ${this.titleOf(ad.sku)} ${textsOf(ad).join(" ")}`.toLowerCase().includes(text)));
  }

  show() {
    const { ads, failed } = this.run();
    byId("results-panel").hidden = !ads.size && !failed.size;
    this.choices();
    const found = this.matching();
    byId("count").textContent = found.length === ads.size ? counted(ads.size, "ad") : `${found.length.toLocaleString("en")} of ${counted(ads.size, "ad")}`;
    byId("results").replaceChildren(...found.slice(0, this.limit).map((ad) => el("li", {}, this.card(ad).element)));
    byId("more").hidden = found.length <= this.limit;
    byId("nothing").hidden = found.length > 0 || !ads.size;
    const open = found.filter((ad) => !this.verdictOf(ad));
    byId("accept-all").disabled = !open.length;
    byId("accept-all").textContent = open.length ? `Accept ${open.length === 1 ? "this one" : `these ${open.length.toLocaleString("en")}`}` : "All are decided";
    byId("failed").hidden = !failed.size;
    byId("failed-rows").replaceChildren(...[...failed].slice(0, 100).map(([sku, reason]) => el("tr", {}, words("td", sku), words("td", reason))));
  }

  card(ad) {
    if (!this.cards.has(ad.id)) {
      this.cards.set(ad.id, new Card(ad, this.channels.get(ad.channel), {
        decision: this.decisions.get(ad.id), productTitle: this.titleOf(ad.sku),
        onDecision: (decided, decision) => { this.decisions.set(decided.id, decision); this.tellOpen(); },
      }));
    }
    return this.cards.get(ad.id);
  }

  /* After one verdict the cards stay where they are: a list that jumps under the hand is hard to work through. */
  tellOpen() {
    const open = this.matching().filter((ad) => !this.verdictOf(ad));
    byId("accept-all").disabled = !open.length;
    byId("accept-all").textContent = open.length ? `Accept ${open.length === 1 ? "this one" : `these ${open.length}`}` : "All are decided";
  }

  choices() {
    const ads = [...this.run().ads.values()];
    const names = [...new Set(ads.map((ad) => ad.channel))].sort();
    this.fill("filter-channel", names.map((name) => [name, this.channels.get(name)?.title ?? name]), "Every channel");
    const kinds = [...new Set(ads.flatMap((ad) => ad.findings.map((finding) => finding.kind)))].sort();
    const named = kinds.map((kind) => [kind, (FINDINGS[kind] ?? kind).slice(0, 60)]);
    this.fill("filter-finding", [["none", "Without findings"], ["any", "With any finding"], ...named], "All");
  }

  fill(id, options, all) {
    const select = byId(id);
    const before = select.value;
    const key = JSON.stringify(options);
    if (select.dataset.key === key) { return; }
    select.dataset.key = key;
    select.replaceChildren(el("option", { value: "", text: all }), ...options.map(([value, text]) => el("option", { value, text })));
    select.value = options.some(([value]) => value === before) ? before : "";
  }

  async acceptAll() {
    const open = this.matching().filter((ad) => !this.verdictOf(ad));
    const button = byId("accept-all");
    button.disabled = true;
    byId("bulk-notice").replaceChildren();
    let done = 0;
    const work = async () => {
      for (let ad = open.pop(); ad; ad = open.pop()) {
        await this.accept(ad);
        done += 1;
        button.textContent = `Accepting, ${done} so far`;
      }
    };
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, work));
      byId("bulk-notice").replaceChildren(notice(`${counted(done, "ad")} accepted.`, "fine"));
    } catch (error) {
      open.length = 0;
      if (!(error instanceof Problem)) { throw error; }
      byId("bulk-notice").replaceChildren(notice(`${counted(done, "ad")} accepted, then: ${error.message}`));
    }
    this.show();
  }

  /* A limit that is reached is waited for, and the same verdict sent again. */
  async accept(ad) {
    for (;;) {
      try {
        await ask("POST", `/api/creatives/${ad.id}/feedback`, { verdict: "accept" });
        break;
      } catch (error) {
        if (error.status !== 429 || error.retryAfter > 120) { throw error; }
        await wait(Math.max(1, error.retryAfter) * 1000);
      }
    }
    this.decisions.set(ad.id, { verdict: "accept" });
    const card = this.card(ad);
    card.verdict = "accept";
    card.show();
  }

  async download() {
    const query = new URLSearchParams([["format", byId("format").value], ...this.run().batches.slice(-20).map((id) => ["batch", id])]);
    if (byId("only-accepted").checked) { query.set("accepted", "1"); }
    const button = byId("download");
    button.disabled = true;
    byId("bulk-notice").replaceChildren();
    try {
      const answer = await request("GET", `/catalogue/download?${query}`);
      const name = answer.headers.get("Content-Disposition")?.match(/filename="([^"]+)"/u)?.[1] ?? "ads";
      const address = URL.createObjectURL(await answer.blob());
      el("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      byId("bulk-notice").replaceChildren(notice(error.message));
    } finally { button.disabled = false; }
  }
}
