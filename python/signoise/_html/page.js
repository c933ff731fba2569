"use strict";
(() => {
  const table = document.getElementById("benchmarks");
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  const find = document.getElementById("find");
  const show = document.getElementById("show");
  const count = document.getElementById("count");

  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.sort === undefined ? cell.textContent.trim() : cell.dataset.sort;
  };

  // Undefined numbers stay last, whichever way the others go.
  const sortBy = (column, descending) => {
    const numeric = headers[column].classList.contains("number");
    const keyed = rows.map((row) => [row, key(row, column)]);
    keyed.sort(([, a], [, b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = numeric ? Number(a) - Number(b) : a.localeCompare(b);
      return descending ? -order : order;
    });
    body.append(...keyed.map(([row]) => row));
    headers.forEach((header, i) =>
      header.setAttribute("aria-sort", i === column ? (descending ? "descending" : "ascending") : "none"));
  };

  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const column = Number(button.dataset.column);
    const state = headers[column].getAttribute("aria-sort");
    const first = headers[column].classList.contains("number");
    sortBy(column, state === "none" ? first : state === "ascending");
  });

  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(words.every((word) => text.includes(word)) && (!show.value || row.dataset.verdict === show.value));
      shown += !row.hidden;
    }
    count.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
  };
  find.addEventListener("input", filter);
  show.addEventListener("change", filter);

  const unescaped = (text) =>
    text.replace(/\\(u003c|\\)/g, (_, found) => (found === "\\" ? "\\" : "<"));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.download");
    if (!button) return;
    const data = unescaped(document.getElementById(button.dataset.csv).textContent);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([data], { type: "text/csv" }));
    link.download = button.dataset.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
})();
