"""Opens HTML pages in a headless Chromium, in a narrow and a wide window, in light and dark mode, and reports faults.

    scripts/browse PAGE.html ... --shots FOLDER

A page passes if the console has no messages, there are no network requests, no element is wider than the window or cut off,
every image has loaded and has an alternative text, the keyboard reaches every link and every ``<summary>``, text has enough
contrast, ids are unique, and internal links have a target. Screenshots are written for inspection by eye.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

WIDTHS = (400, 1400)
"""Window widths in pixels: a phone and a wide screen."""
MIN_CONTRAST = 4.5
"""The minimum contrast ratio of text at level AA of WCAG 2."""

FAULTS = """minContrast => {
  const faults = [], width = document.documentElement.clientWidth;
  const scrollWidth = document.documentElement.scrollWidth;
  if (scrollWidth > width) faults.push(`wider than the window: ${scrollWidth} px`);
  const name = e => `<${e.tagName.toLowerCase()} ${e.className}> ${(e.alt || e.textContent).trim().slice(0, 40)}`;
  const outOfFlow = e => e && getComputedStyle(e).position === 'absolute';
  const hidden = e => e.closest('.skip, .hidden') || outOfFlow(e.closest('thead'))
    || (e.closest('details:not([open])') && !e.closest('summary'));
  const channels = color => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const background = e => { for (; e; e = e.parentElement) { const c = channels(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  for (const e of document.body.querySelectorAll('*')) {
    if (hidden(e)) continue;
    const box = e.getBoundingClientRect();
    if (box.width && (box.right > width + 1 || box.left < -1)) faults.push(`outside the window: ${name(e)}`);
    if (e.clientWidth && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')
      faults.push(`cut off: ${name(e)}`);
    if ([...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) {
      const [a, b] = [luminance(channels(getComputedStyle(e).color)), luminance(background(e))].sort((x, y) => y - x);
      if ((a + .05) / (b + .05) < minContrast) faults.push(`contrast ${((a + .05) / (b + .05)).toFixed(1)}: ${name(e)}`);
    }
  }
  for (const e of document.images) {
    if (!e.complete || !e.naturalWidth) faults.push(`image not loaded: ${name(e)}`);
    if (e.alt.trim().length < 10) faults.push(`no alternative text: ${e.src.slice(0, 40)}`);
  }
  const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
  ids.filter((id, i) => ids.indexOf(id) !== i).forEach(id => faults.push(`duplicate id: ${id}`));
  for (const e of document.querySelectorAll('a[href^="#"]'))
    if (!document.getElementById(e.hash.slice(1))) faults.push(`link without target: ${e.hash}`);
  return faults;
}"""

FOCUSED_INDEX = "() => [...document.querySelectorAll('a[href], summary')].indexOf(document.activeElement)"
NUM_FOCUSABLE = "() => document.querySelectorAll('a[href], summary').length"


def find_faults(page: Page, url: str, screenshot: Path) -> list[str]:
    """Returns the faults of a page in the current window, and writes a screenshot."""
    faults: list[str] = []
    page.on("console", lambda message: faults.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on(
        "request", lambda request: request.url.startswith(("file:", "data:")) or faults.append(f"request: {request.url}")
    )
    page.goto(url)
    for summary in page.locator("summary").all():
        summary.click()
    page.wait_for_timeout(300)
    faults += page.evaluate(FAULTS, MIN_CONTRAST)
    reached = set()
    page.evaluate("() => { document.activeElement.blur(); window.scrollTo({top: 0, behavior: 'instant'}); }")
    num = page.evaluate(NUM_FOCUSABLE)
    for _ in range(num + 2):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(FOCUSED_INDEX))
    faults += [f"not reached by the keyboard: link {number}" for number in range(num) if number not in reached]
    page.evaluate("() => { document.activeElement.blur(); window.scrollTo({top: 0, behavior: 'instant'}); }")
    page.screenshot(path=screenshot, full_page=True)
    return faults


def main() -> int:
    """Opens each page in every window width and color scheme. The exit code is 1 if there are faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--shots", type=Path, default=Path("screenshots"), help="the folder for screenshots")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the path of Chromium")
    options = parser.parse_args()
    if missing := [str(path) for path in options.pages if not path.is_file()]:
        parser.error(f"file not found: {', '.join(missing)}")
    options.shots.mkdir(parents=True, exist_ok=True)
    num_faults = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox", "--disable-gpu"])
        for path in options.pages:
            for width in WIDTHS:
                for scheme in ("light", "dark"):
                    window: dict[str, Any] = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
                    context = browser.new_context(offline=True, **window)
                    screenshot = options.shots / f"{path.parent.name}-{path.stem}-{width}-{scheme}.png"
                    faults = find_faults(context.new_page(), path.resolve().as_uri(), screenshot)
                    context.close()
                    print(f"{path} {width} px {scheme}: {'; '.join(faults) or 'no faults'}  {screenshot}")
                    num_faults += len(faults)
        browser.close()
    return 1 if num_faults else 0


if __name__ == "__main__":
    sys.exit(main())
