"""Opens pages in a real headless Chromium, on a phone and on a wide screen, light and dark, and says what is wrong.

    scripts/browse PAGE.html ... --shots FOLDER

A page passes if its console is silent, it asks nothing of any network, nothing is wider than the window or cut off, each
image has loaded and has words for those who do not see it, the keyboard reaches every link and fold, words stand out from
what is behind them, and no name is given twice. Screenshots are written to be looked at.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

WIDTHS = (400, 1400)
CONTRAST = 4.5
"""The least contrast of words that WCAG 2 asks for at level AA."""

FAULTS = """contrast => {
  const faults = [], width = document.documentElement.clientWidth;
  const wide = document.documentElement.scrollWidth;
  if (wide > width) faults.push(`scrolls sideways: ${wide} px`);
  const name = e => `<${e.tagName.toLowerCase()} ${e.className}> ${(e.alt || e.textContent).trim().slice(0, 40)}`;
  const away = e => e && getComputedStyle(e).position === 'absolute';
  const hidden = e => e.closest('.skip, .hidden') || away(e.closest('thead'))
    || (e.closest('details:not([open])') && !e.closest('summary'));
  const channels = color => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) { const c = channels(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  for (const e of document.body.querySelectorAll('*')) {
    if (hidden(e)) continue;
    const box = e.getBoundingClientRect();
    if (box.width && (box.right > width + 1 || box.left < -1)) faults.push(`sticks out: ${name(e)}`);
    if (e.clientWidth && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')
      faults.push(`is cut off: ${name(e)}`);
    if ([...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) {
      const [a, b] = [light(channels(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
      if ((a + .05) / (b + .05) < contrast) faults.push(`contrast ${((a + .05) / (b + .05)).toFixed(1)}: ${name(e)}`);
    }
  }
  for (const e of document.images) {
    if (!e.complete || !e.naturalWidth) faults.push(`has not loaded: ${name(e)}`);
    if (e.alt.trim().length < 10) faults.push(`has no alt text: ${e.src.slice(0, 40)}`);
  }
  const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
  ids.filter((id, i) => ids.indexOf(id) !== i).forEach(id => faults.push(`id given twice: ${id}`));
  for (const e of document.querySelectorAll('a[href^="#"]'))
    if (!document.getElementById(e.hash.slice(1))) faults.push(`leads nowhere: ${e.hash}`);
  return faults;
}"""

FOCUSED = "() => [...document.querySelectorAll('a[href], summary')].indexOf(document.activeElement)"
COUNT = "() => document.querySelectorAll('a[href], summary').length"


def faults_of(page: Page, address: str, shot: Path) -> list[str]:
    """What is wrong with a page in the window as it is; writes a screenshot."""
    faults: list[str] = []
    page.on("console", lambda message: faults.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or faults.append(f"asks {asked.url}"))
    page.goto(address)
    for fold in page.locator("summary").all():
        fold.click()
    page.wait_for_timeout(300)
    faults += page.evaluate(FAULTS, CONTRAST)
    reached = set()
    page.evaluate("() => { document.activeElement.blur(); window.scrollTo({top: 0, behavior: 'instant'}); }")
    num = page.evaluate(COUNT)
    for _ in range(num + 2):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(FOCUSED))
    faults += [f"the keyboard does not reach link {number}" for number in range(num) if number not in reached]
    page.evaluate("() => { document.activeElement.blur(); window.scrollTo({top: 0, behavior: 'instant'}); }")
    page.screenshot(path=shot, full_page=True)
    return faults


def main() -> int:
    """Opens each page four times; the exit code says whether any has a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--shots", type=Path, default=Path("screenshots"), help="where screenshots go")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser")
    options = parser.parse_args()
    if missing := [str(path) for path in options.pages if not path.is_file()]:
        parser.error(f"no such page: {', '.join(missing)}")
    options.shots.mkdir(parents=True, exist_ok=True)
    wrong = 0
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=options.chromium, args=["--no-sandbox", "--disable-gpu"])
        for path in options.pages:
            for width in WIDTHS:
                for scheme in ("light", "dark"):
                    window: dict[str, Any] = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
                    context = browser.new_context(offline=True, **window)
                    shot = options.shots / f"{path.parent.name}-{path.stem}-{width}-{scheme}.png"
                    faults = faults_of(context.new_page(), path.resolve().as_uri(), shot)
                    context.close()
                    print(f"{path} {width} px {scheme}: {'; '.join(faults) or 'nothing wrong'}  {shot}")
                    wrong += len(faults)
        browser.close()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
