/* Search, copying and folding of the trees of JSON (memory_site/core/admin/json_view.py). */
"use strict";

(() => {
    const VIEW = "[data-json-view]";
    const TEXTS = ".json-key, .json-string, .json-number, .json-boolean, .json-null, .json-rest";

    const show_tools = () => document.querySelectorAll(`${VIEW} .json-tools[hidden]`).forEach((tools) => { tools.hidden = false; });

    const set_open = (view, is_open) => view.querySelectorAll("details").forEach((each) => { each.open = is_open; });

    const open_around = (element, view) => {
        for (let each = element.closest("details"); each && view.contains(each); each = each.parentElement.closest("details")) each.open = true;
    };

    const find = (view, text) => {
        view.querySelectorAll(".json-hit").forEach((each) => each.classList.remove("json-hit"));
        const wanted = text.trim().toLowerCase();
        const hits = wanted ? [...view.querySelectorAll(TEXTS)].filter((each) => !each.matches(".json-beginning") && each.textContent.toLowerCase().includes(wanted)) : [];
        hits.forEach((each) => { each.classList.add("json-hit"); open_around(each, view); });
        view.querySelector(".json-found").textContent = wanted ? `${hits.length} found` : "";
        if (hits.length) hits[0].scrollIntoView({ block: "nearest" });
    };

    const copy = async (view, button) => {
        const source = view.querySelector(".json-source");
        try {
            await navigator.clipboard.writeText(source.value);
            button.textContent = "Copied";
        } catch {  // without HTTPS there is no clipboard
            source.hidden = false;
            source.select();
            const was_copied = document.execCommand("copy");
            source.hidden = true;
            button.textContent = was_copied ? "Copied" : "Not copied";
        }
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
    };

    document.addEventListener("click", (event) => {
        const button = event.target.closest("[data-json]");
        const view = button && button.closest(VIEW);
        if (!view) return;
        if (button.dataset.json === "copy") copy(view, button);
        else set_open(view, button.dataset.json === "unfold");
    });
    document.addEventListener("input", (event) => {
        if (event.target.matches(".json-search")) find(event.target.closest(VIEW), event.target.value);
    });
    document.addEventListener("DOMContentLoaded", show_tools);
    document.addEventListener("htmx:afterSwap", show_tools);
    if (document.readyState !== "loading") show_tools();
})();
