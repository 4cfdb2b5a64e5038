// Select boxes with a search of their own (select2) have no accessible name: they get that of their field's label.
{
  const nameBoxes = () => {
    for (const box of document.querySelectorAll(".select2-selection:not([aria-label])")) {
      const label = box.closest(".select2-container").previousElementSibling?.labels?.[0]?.textContent.trim();
      for (const part of label ? [box, ...box.querySelectorAll("[role=textbox], [role=searchbox]")] : []) {
        part.removeAttribute("aria-labelledby");
        part.setAttribute("aria-label", label);
      }
    }
  };
  // They are made at any time after the page was read, and again for each row that a form adds.
  new MutationObserver(nameBoxes).observe(document.documentElement, { childList: true, subtree: true });
}
