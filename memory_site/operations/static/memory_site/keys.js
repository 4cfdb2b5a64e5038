/* Keys of the console's lists and pages: "/" goes to the search box (unfold's own), j and k go from row to row, x selects
   the row, e or Enter opens it, and "?" shows what the keys do. Nothing happens while a field has the focus. */
(() => {
    "use strict";
    const ROWS = "#result_list tbody tr";
    let current = -1;

    const isTyping = (target) => target.closest("input:not([type=checkbox]), textarea, select, [contenteditable=true]");

    function findRows() {
        return [...document.querySelectorAll(ROWS)].filter((row) => row.offsetParent && row.querySelector("td, th"));
    }

    function move(distance) {
        const rows = findRows();
        if (!rows.length) return;
        rows[current]?.classList.remove("row-current");
        current = Math.min(Math.max(current + distance, 0), rows.length - 1);
        rows[current].classList.add("row-current");
        rows[current].scrollIntoView({ block: "nearest" });
    }

    function select() {
        findRows()[current]?.querySelector("input.action-select")?.click();
    }

    function open() {
        const link = findRows()[current]?.querySelector("th a[href], td a[href]");
        if (link) location.assign(link.href);
    }

    function edit() {
        const row = findRows()[current];
        if (row) open();
        else document.querySelector(".memory-edit")?.click();
    }

    function toggleHelp() {
        const help = document.getElementById("keys-help");
        if (help?.open) help.close();
        else help?.showModal();
    }

    const ACTIONS = { j: () => move(1), k: () => move(-1), x: select, e: edit, Enter: open, "?": toggleHelp };

    document.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
        if (event.key === "Enter" && (current < 0 || event.target.closest("a, button, input"))) return;
        ACTIONS[event.key]?.();
    });
})();
