() => {
  // The button of a kind on the tab that is shown.
  const press = (kind) => {
    for (const button of document.querySelectorAll(`button.${kind}, .${kind} button`)) {
      if (button.offsetParent !== null && !button.disabled) {
        button.click();
        return true;
      }
    }
    return false;
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      // A field sends what is typed in it when it loses the focus.
      event.preventDefault();
      event.stopPropagation();
      const field = document.activeElement;
      field?.dispatchEvent(new Event("input", { bubbles: true }));
      setTimeout(() => press("draws"), 60);
    } else if (event.key === "Escape") {
      press("stops");
    }
  }, true);
}
