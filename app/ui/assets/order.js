/* What every order has: channels, voice, candidates. */

import { el } from "./dom.js";

export const fillChannels = (place, known, chosen) => {
  place.replaceChildren(...[...known.values()].map((channel) => el("label", { class: "pill" },
    el("input", { type: "checkbox", name: "channel", value: channel.name, checked: chosen.includes(channel.name) }),
    el("span", { text: channel.title }))));
};

export const picked = (form, name) =>
  [...form.querySelectorAll(`input[name="${name}"]:checked`)].map((input) => input.value);
