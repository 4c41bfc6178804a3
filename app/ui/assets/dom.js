/* Elements from names, attributes and children. Text only ever becomes text: nothing here reads HTML. */

export const el = (name, given = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) { continue; }
    if (key.startsWith("on")) { element.addEventListener(key.slice(2), value); }
    else if (key === "text") { element.textContent = value; }
    else if (key === "value" || key === "checked" || key === "disabled") { element[key] = value; }
    else { element.setAttribute(key, value === true ? "" : value); }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
};

export const byId = (id) => document.getElementById(id);

/* What a merchant wrote may run from right to left: each text finds its own direction. */
export const words = (name, text, given = {}) => el(name, { dir: "auto", text, ...given });

export const notice = (text, kind = "bad", ...more) =>
  el("div", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" }, words("div", text), ...more);

export const counted = (number, noun, plural = `${noun}s`) =>
  `${number.toLocaleString("en")} ${number === 1 ? noun : plural}`;

export const wait = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
