/* A change in the search bench's second setting asks for the comparison. */
(() => {
    "use strict";

    addEventListener("change", ({ target }) => {
        const box = target.closest(".bench-second")?.querySelector("[name=compare]");
        if (box && box !== target) box.checked = true;
    });
})();
