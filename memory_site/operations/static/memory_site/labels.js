/* Names for screen readers where the widgets of libraries have none: select2 hides the element that the label is for, and
   Django's picker names a mark without a role. Both make their elements late. */
(() => {
    "use strict";

    function nameWidgets() {
        for (const hidden of document.querySelectorAll("select.select2-hidden-accessible")) {
            const label = hidden.getAttribute("aria-label") || hidden.labels?.[0]?.textContent.trim() || hidden.name;
            const shown = hidden.nextElementSibling;
            for (const part of shown?.querySelectorAll("[role=combobox], [role=textbox], [role=searchbox]") ?? []) {
                part.removeAttribute("aria-labelledby");
                part.setAttribute("aria-label", label);
            }
        }
        for (const mark of document.querySelectorAll(".help-tooltip[aria-label]")) mark.setAttribute("role", "img");
    }

    addEventListener("load", () => {
        nameWidgets();
        new MutationObserver(nameWidgets).observe(document.body, { childList: true, subtree: true });
    });
})();
