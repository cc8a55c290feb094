// Controls that a page has only where scripts run: sortable tables, filters, copies. Without them
// the page is whole: tables stand in a meaningful order, and all text can be selected.
"use strict";
(() => {
  const main = document.querySelector("main");

  function element(name, properties, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  // What a change did, for those who do not see it.
  const news = element("p", { className: "aside" });
  news.setAttribute("role", "status");
  main.append(news);

  function words(node) {
    return node.textContent.replace(/\s+/g, " ").trim();
  }

  function nameOf(table) {
    return table.closest("[aria-label]").getAttribute("aria-label");
  }

  function tools(table) {
    const scroll = table.closest(".scroll");
    let found = scroll.nextElementSibling;
    if (!found || !found.classList.contains("tools")) {
      found = element("p", { className: "tools" });
      scroll.after(found);
    }
    return found;
  }

  // Sorting: the number that a cell begins with, such as 0.12 of "[0.12, 0.34]"; else its text.

  function number(text) {
    const found = /^[[<]?([+\-−]?[\d,]*\.?\d+(?:e[+-]?\d+)?)(?=$|[\s*†%/,\]])/i.exec(text);
    if (!found) return NaN;
    const value = Number(found[1].replaceAll(",", "").replace("−", "-"));
    return text.startsWith("<") ? value * 0.999 : value;
  }

  function keysOf(rows, column) {
    const texts = rows.map((row) => words(row.cells[column]));
    const known = texts.map((text) => text !== "–" && text !== "");
    const numbers = texts.map(number);
    const numeric = numbers.every((value, place) => !known[place] || !Number.isNaN(value));
    return texts.map((text, place) => (known[place] ? (numeric ? numbers[place] : text) : null));
  }

  function compare(a, b) {
    return typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
  }

  function sort(table, header, original) {
    const body = table.tBodies[0];
    const before = header.getAttribute("aria-sort");
    const after = { ascending: "descending", descending: null }[before];
    const direction = before ? after : "ascending";
    for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
    const order = original.map((row, place) => ({ row, place }));
    if (direction) {
      header.setAttribute("aria-sort", direction);
      const keys = keysOf(original, header.cellIndex);
      const sign = direction === "ascending" ? 1 : -1;
      order.sort((a, b) => {
        const [first, second] = [keys[a.place], keys[b.place]];
        // what is missing comes last, whichever way round
        if (first === null || second === null) return (first === null) - (second === null);
        return sign * compare(first, second);
      });
    }
    body.append(...order.map((entry) => entry.row));
    const how = direction ? `sorted by ${words(header)}, ${direction}` : "in its first order";
    news.textContent = `${nameOf(table)}: ${how}.`;
  }

  function makeSortable(table) {
    const original = [...table.tBodies[0].rows];
    if (original.length < 3) return;
    for (const header of table.tHead.querySelectorAll("th")) {
      const button = element("button", { type: "button", className: "sort" });
      button.append(...header.childNodes);
      button.addEventListener("click", () => sort(table, header, original));
      header.append(button);
    }
  }

  // Filters: a row stays where every word is in its header, in its `data-words`, or in the heading.

  function makeFilter(group) {
    const noun = group.dataset.filter;
    const rows = [...group.querySelectorAll("tbody tr")].map((row) => {
      const part = row.closest("[data-words]:not(tr)");
      const said = [words(row.cells[0]), row.dataset.words, part && part.dataset.words];
      return { row, text: said.join(" ").toLowerCase() };
    });
    const input = element("input", { type: "search", autocomplete: "off", spellcheck: false });
    const count = element("span", {});
    count.setAttribute("role", "status");
    const label = element("label", {}, `Filter ${noun} `, input);
    const bar = element("p", { className: "tools filter" }, label, count);
    if (group.dataset.hint) {
      const hint = element("span", { className: "hint", id: `${group.id}-hint` });
      hint.textContent = group.dataset.hint;
      input.setAttribute("aria-describedby", hint.id);
      bar.append(hint);
    }
    function apply() {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const { row, text } of rows) {
        row.hidden = !wanted.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      for (const part of group.querySelectorAll("[data-words]:not(tr)")) {
        part.hidden = !part.querySelector("tbody tr:not([hidden])");
      }
      count.textContent = `${shown} of ${rows.length} ${noun}`;
    }
    input.addEventListener("input", apply);
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      input.value = "";
      apply();
    });
    group.prepend(bar);
    apply();
  }

  // Copies.

  async function write(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = element("textarea", { value: text, className: "aside" });
      const active = document.activeElement;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      active.focus();
      return done;
    }
  }

  function copyButton(visible, rest, text) {
    const button = element("button", { type: "button", className: "copy" }, visible);
    if (rest) button.append(element("span", { className: "aside" }, ` of ${rest}`));
    const mark = element("span", { className: "mark" });
    mark.setAttribute("aria-hidden", "true");
    let timer;
    button.addEventListener("click", async () => {
      const done = await write(text());
      mark.textContent = done ? "✓ copied" : "could not copy; select the text instead";
      news.textContent = `${visible.replace("Copy ", "")}${rest ? ` of ${rest}` : ""}: ${mark.textContent.replace("✓ ", "")}.`;
      clearTimeout(timer);
      timer = setTimeout(() => (mark.textContent = ""), 4000);
    });
    return [button, mark];
  }

  const LATEX = {
    "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", $: "\\$", "#": "\\#", _: "\\_", "{": "\\{",
    "}": "\\}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}",
    ">": "\\textgreater{}", "[": "{[}", "−": "$-$", "–": "--", "±": "$\\pm$", "\u2020": "\\dag{}",
    "\u2021": "\\ddag{}", "…": "\\dots{}", "\u00a0": "~",
  };

  function latex(node) {
    if (node.nodeType === Node.TEXT_NODE) {
      return [...node.data.replace(/[ \t\r\n]+/g, " ")].map((sign) => LATEX[sign] ?? sign).join("");
    }
    const inner = [...node.childNodes].map(latex).join("");
    if (node.nodeName === "BR") return " ";
    if (node.nodeName === "SUB") return `\\textsubscript{${inner}}`;
    return inner;
  }

  function tableAsLatex(table) {
    const cell = (part) => latex(part).trim();
    const line = (row) => `${[...row.cells].map(cell).join(" & ")} \\\\`;
    const shown = (part) => [...part.rows].filter((row) => !row.hidden).map(line);
    const first = table.tBodies[0].rows[0];
    const form = [...first.cells]
      .map((part) => (getComputedStyle(part).textAlign === "end" ? "r" : "l"))
      .join("");
    const rows = shown(table.tBodies[0]);
    const inner = ["\\toprule", ...shown(table.tHead), "\\midrule", ...rows];
    if (table.tFoot) inner.push("\\midrule", ...shown(table.tFoot));
    inner.push("\\bottomrule");
    const caption = `\\caption{${cell(table.caption)}}`;
    const long = rows.length > 40;
    return (
      long
        ? [`\\begin{longtable}{${form}}`, `${caption} \\\\`, ...inner, "\\end{longtable}"]
        : ["\\begin{table}", "\\centering", caption, `\\begin{tabular}{${form}}`, ...inner,
           "\\end{tabular}", "\\end{table}"]
    ).join("\n") + "\n";
  }

  for (const table of document.querySelectorAll("table")) {
    makeSortable(table);
    tools(table).append(...copyButton("Copy LaTeX", nameOf(table), () => tableAsLatex(table)));
  }
  for (const part of document.querySelectorAll("[data-copy]")) {
    const text = () => part.innerText.replace(/\n{3,}/g, "\n\n").trim();
    const made = copyButton(`Copy ${part.dataset.copy}`, "", text);
    const inline = getComputedStyle(part).display === "inline";
    part.after(element(inline ? "span" : "p", { className: "tools" }, ...made));
  }
  for (const group of document.querySelectorAll("[data-filter]")) makeFilter(group);
})();
