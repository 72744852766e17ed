(function () {
  "use strict";
  var tip = document.createElement("div");
  tip.id = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.appendChild(tip);
  function show(mark, x, y) {
    tip.textContent = mark.getAttribute("aria-label");
    tip.hidden = false;
    var wide = tip.offsetWidth, high = tip.offsetHeight;
    tip.style.left = Math.max(8, Math.min(x + 14, innerWidth - wide - 8)) + "px";
    tip.style.top = (y + high + 24 > innerHeight ? y - high - 12 : y + 14) + "px";
  }
  function hide() { tip.hidden = true; }
  // The browser's own tips come late, and not at all where there is no mouse.
  document.querySelectorAll(".mark, [data-tip]").forEach(function (mark) {
    var title = mark.querySelector(":scope > title");
    mark.setAttribute("aria-label", title ? title.textContent : mark.dataset.tip);
    if (title) { title.remove(); mark.setAttribute("role", "img"); mark.setAttribute("tabindex", "0"); }
    mark.addEventListener("pointermove", function (event) { show(mark, event.clientX, event.clientY); });
    mark.addEventListener("pointerleave", hide);
    mark.addEventListener("click", function (event) { show(mark, event.clientX, event.clientY); });
    mark.addEventListener("focus", function () {
      var box = mark.getBoundingClientRect();
      show(mark, box.right, box.bottom);
    });
    mark.addEventListener("blur", hide);
  });
  addEventListener("scroll", hide, { passive: true });
  addEventListener("keydown", function (event) { if (event.key === "Escape") { hide(); } });
  addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (each) { each.open = true; });
  });
  var button = document.getElementById("copy");
  if (!button) { return; }
  button.addEventListener("click", function () {
    var config = document.getElementById("config"), text = config.textContent;
    function done() { button.textContent = "Copied"; }
    if (navigator.clipboard && window.isSecureContext) { navigator.clipboard.writeText(text).then(done); return; }
    var range = document.createRange();
    range.selectNodeContents(config);
    getSelection().removeAllRanges(); getSelection().addRange(range);
    if (document.execCommand("copy")) { done(); }
  });
})();
