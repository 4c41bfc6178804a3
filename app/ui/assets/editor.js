/* The words of one ad as fields, each with what the channel takes of it. */

import { el, words } from "./dom.js";

const PARTS = [
  ["headlines", "headline", "Headline"],
  ["descriptions", "body", "Text"],
  ["call_to_action", "call_to_action", "Call to action"],
  ["hashtags", "hashtags", "Hashtags"],
];

const charsMax = (channel, field) => channel?.fields.find((each) => each.name === field)?.chars_max ?? 0;

const area = (title, text, most) => {
  const count = el("small", { class: "count-chars" });
  const input = el("textarea", { value: text, dir: "auto", rows: text.length > 60 ? 4 : 2 });
  const tell = () => {
    const length = [...input.value].length;
    count.textContent = most ? `${length} of ${most}` : `${length}`;
    count.classList.toggle("over", most > 0 && length > most);
  };
  input.addEventListener("input", tell);
  tell();
  return [input, el("label", { class: "field" }, el("span", {}, title, count), input)];
};

export const editor = (ad, channel, { save, cancel }) => {
  const inputs = [];
  const labels = [];
  for (const [member, field, title] of PARTS) {
    const texts = member === "hashtags" ? [ad.hashtags.join(" ")] : [ad[member]].flat();
    if (!texts.filter(Boolean).length) { continue; }
    texts.forEach((text, place) => {
      const name = texts.length > 1 ? `${title} ${place + 1}` : title;
      const [input, label] = area(name, text, member === "hashtags" ? 0 : charsMax(channel, field));
      inputs.push([member, input]);
      labels.push(label);
    });
  }
  const edited = () => {
    const taken = { headlines: [], descriptions: [], call_to_action: "", hashtags: [] };
    for (const [member, input] of inputs) {
      const text = input.value.trim();
      if (member === "call_to_action") { taken.call_to_action = text; }
      else if (member === "hashtags") { taken.hashtags = text.split(/\s+/u).filter(Boolean); }
      else if (text) { taken[member].push(text); }
    }
    return taken;
  };
  const button = el("button", { class: "button slim main", text: "Save and accept" });
  return el("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      button.disabled = true;
      try { await save(edited()); } finally { button.disabled = false; }
    },
  }, labels,
    words("p", "The picture keeps the words as they were written.", { class: "small soft" }),
    el("div", { class: "actions" }, button, el("button", { type: "button", class: "button slim", text: "Cancel", onclick: cancel })));
};
