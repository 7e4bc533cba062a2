// What a browser sees of a page that is open, for tests/it/monitor/page.rs.
(() => {
  const name = element => `${element.tagName} ${element.getAttribute('class') ?? ''} ${element.textContent.slice(0, 40)}`;
  const all = selector => [...document.querySelectorAll(selector)];
  const text = element => element.textContent.trim();

  // Colours, and how they stand out: WCAG 2.2, relative luminance and contrast ratio.
  const channels = colour => colour.match(/[\d.]+/g).map(Number);
  const luminance = colour => {
    const linear = channels(colour).slice(0, 3).map(value => value / 255)
      .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const ratio = (a, b) => {
    const [dark, light] = [luminance(a), luminance(b)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const background = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((channels(colour)[3] ?? 1) === 1) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const seen = element => element.checkVisibility() && element.getClientRects().length > 0;

  return {
    scripts: all('script, iframe, object, embed, link, img, form, base').length
      + all('*').filter(one => [...one.attributes].some(attribute => attribute.name.startsWith('on'))).length,
    loaded: performance.getEntriesByType('resource').map(one => one.name),
    title: document.title,
    cards: all('.card').map(card => ({
      title: text(card.querySelector('h3')), reason: text(card.querySelector('p')),
      hint: text(card.querySelector('.hint')),
    })),
    rows: Object.fromEntries(all('table').map(table => [text(table.caption),
      [...table.tBodies[0].rows].map(row => [...row.cells].map(text))])),
    pictures: all('svg.picture').map(picture => ({
      title: text(picture.querySelector('title')), description: text(picture.querySelector('desc')),
      marks: [...picture.querySelectorAll('.mark')].map(mark => mark.getAttribute('class')),
      spans: picture.querySelectorAll('rect.span').length,
      wal: picture.querySelectorAll('rect.wal').length,
      gaps: picture.querySelectorAll('rect.gap').length,
      bars: picture.querySelectorAll('.bars line').length,
    })),
    text: text(document.body),
    tooWide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    // Elements of pictures that stick out of theirs by more than half a mark.
    outside: all('svg.picture').flatMap(picture => {
      const frame = picture.getBoundingClientRect();
      return [...picture.querySelectorAll('rect, line, text, use')].filter(one => {
        const box = one.getBoundingClientRect();
        return !(box.left >= frame.left - 7 && box.right <= frame.right + 7
          && box.top >= frame.top - 7 && box.bottom <= frame.bottom + 7);
      }).map(name);
    }),
    overlaps: all('svg.picture').flatMap(picture => {
      const words = [...picture.querySelectorAll('text')].map(one => [one, one.getBoundingClientRect()]);
      return words.flatMap(([one, a], at) => words.slice(at + 1)
        .filter(([, b]) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
        .map(([other]) => `${text(one)} / ${text(other)}`));
    }),
    faint: all('body *').filter(one => seen(one)
      && [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim())
      && !['TITLE', 'DESC', 'STYLE'].includes(one.tagName.toUpperCase()))
      .map(one => {
        const style = getComputedStyle(one);
        const colour = one.namespaceURI.endsWith('svg') ? style.fill : style.color;
        return [ratio(colour, background(one)), name(one)];
      }).filter(([found]) => !(found >= 4.5)),
    marks: all('.swatch > *:not(.goes)').map(one => {
      const style = getComputedStyle(one);
      const colours = [style.fill, style.stroke].filter(colour => colour.startsWith('rgb'));
      return [Math.max(...colours.map(colour => ratio(colour, background(one)))), one.getAttribute('class')];
    }).filter(([found]) => !(found >= 3)),
    keys: all('a[href], summary, [tabindex="0"]').filter(seen).map(name),
  };
})()
