document.querySelectorAll("th button").forEach(button => button.addEventListener("click", () => {
  const head = button.parentNode, table = head.closest("table"), body = table.tBodies[0];
  const number = [...head.parentNode.children].indexOf(head);
  const down = head.getAttribute("aria-sort") !== "descending" && head.classList.contains("number")
    || head.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = row => row.cells[number].dataset.value ?? row.cells[number].textContent;
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)], [m, n] = [parseFloat(x), parseFloat(y)];
    if (isNaN(m) !== isNaN(n)) return isNaN(m) ? 1 : -1;
    const order = isNaN(m) ? x.localeCompare(y) : m - n;
    return down ? -order : order;
  };
  [...body.rows].sort(compare).forEach(row => body.append(row));
}));
