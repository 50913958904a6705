// How things look in the picture, in the colours of the page's own style sheet.

import type { StylesheetJson } from 'cytoscape';

/** How long a connection takes to come to rest, and to fade. */
export const FRESH_MS = 900;
export const FADE_MS = 1_400;
/** Slices of a container in several networks. */
export const MAX_SLICES = 6;

interface Theme {
  readonly text: string;
  readonly quiet: string;
  readonly ground: string;
  readonly surface: string;
  readonly line: string;
  readonly accent: string;
  readonly bad: string;
  readonly font: string;
}

/** The colours of the style sheet. */
function readTheme(): Theme {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: colour('text'),
    quiet: colour('quiet'),
    ground: colour('ground'),
    surface: colour('surface'),
    line: colour('line'),
    accent: colour('accent'),
    bad: colour('bad'),
    font: style.fontFamily,
  };
}

/** `isBent`: whether connections are. */
export function graphStyle(isBent: boolean): StylesheetJson {
  const theme = readTheme();
  const slices = Array.from({ length: MAX_SLICES - 1 }, (_, index) => {
    const count = index + 2;
    const parts = Array.from({ length: count }, (_each, slice) => [
      [`pie-${slice + 1}-background-color`, `data(colour${slice + 1})`],
      [`pie-${slice + 1}-background-size`, 100 / count],
    ]).flat() as [string, string | number][];
    return { selector: `.slices${count}`, style: { 'pie-size': '100%', ...Object.fromEntries(parts) } };
  });
  return [
    { selector: 'core', style: { 'active-bg-opacity': 0 } },
    {
      selector: 'node',
      style: { 'z-index-compare': 'manual', 'font-family': theme.font, 'overlay-opacity': 0, color: theme.text },
    },
    {
      selector: '.host',
      style: {
        shape: 'round-rectangle',
        'corner-radius': '14',
        width: 'data(width)',
        height: 'data(height)',
        'background-color': theme.surface,
        'border-width': 1,
        'border-color': theme.line,
        label: 'data(label)',
        'text-valign': 'top',
        'text-margin-y': 25,
        'font-size': 14,
        'font-weight': 600,
        'z-index': 0,
      },
    },
    {
      selector: '.outside',
      style: {
        shape: 'round-rectangle',
        width: 92,
        height: 30,
        'corner-radius': '15',
        'background-color': theme.ground,
        'border-width': 1,
        'border-style': 'dashed',
        'border-color': theme.quiet,
        label: 'data(label)',
        'text-valign': 'center',
        'font-size': 12,
        color: theme.quiet,
        'z-index': 2,
      },
    },
    {
      selector: '.container',
      style: {
        width: 32,
        height: 32,
        'background-color': 'data(colour)',
        'border-width': 3,
        'border-color': theme.surface,
        label: 'data(label)',
        'text-valign': 'bottom',
        'text-margin-y': 4,
        'text-wrap': 'wrap',
        'text-max-width': '92px',
        'text-overflow-wrap': 'anywhere',
        'text-background-color': theme.surface,
        'text-background-opacity': 0.8,
        'text-background-padding': '1px',
        'font-size': 12,
        'min-zoomed-font-size': 6,
        'transition-property': 'opacity',
        'transition-duration': 250,
        'z-index': 3,
      },
    },
    ...(slices as StylesheetJson),
    {
      selector: '.waiting',
      style: { shape: 'diamond', 'background-opacity': 0.35, 'border-style': 'dashed', 'border-color': theme.quiet },
    },
    {
      selector: '.door',
      style: {
        shape: 'round-rectangle',
        width: 62,
        height: 22,
        'corner-radius': '11',
        'background-color': theme.ground,
        'border-width': 1.5,
        'border-color': theme.accent,
        label: 'data(label)',
        'text-valign': 'center',
        'font-size': 11,
        'z-index': 3,
      },
    },
    { selector: '.door.shut', style: { 'border-color': theme.quiet, 'border-style': 'dashed', color: theme.quiet } },
    {
      selector: 'edge',
      style: { 'z-index-compare': 'manual', 'overlay-opacity': 0, 'curve-style': 'straight', 'z-index': 1 },
    },
    {
      selector: '.way',
      style: { width: 1.2, 'line-color': theme.accent, 'line-style': 'dashed', opacity: 0.6 },
    },
    { selector: '.way.shut', style: { 'line-color': theme.quiet } },
    {
      selector: '.connection',
      style: {
        width: 'data(width)',
        opacity: 'data(clarity)' as unknown as number,
        'line-color': 'data(colour)',
        'curve-style': isBent ? 'unbundled-bezier' : 'haystack',
        'haystack-radius': 0,
        'control-point-distances': [18],
        'control-point-weights': [0.5],
        'line-cap': 'round',
        'underlay-color': theme.accent,
        'underlay-opacity': 0,
        'underlay-padding': 2,
        'z-index': 1,
      },
    },
    { selector: '.connection.tunnelled', style: { 'line-style': 'dashed', 'line-dash-pattern': [8, 5] } },
    { selector: '.connection.mixed', style: { 'line-color': theme.accent } },
    {
      // Only those that come and go: else each change of a width were an animation.
      selector: '.connection.fresh',
      style: {
        'transition-property': 'opacity, underlay-opacity, underlay-padding',
        'transition-duration': FRESH_MS,
        'transition-timing-function': 'ease-out',
      },
    },
    { selector: '.connection.new', style: { opacity: 0, 'underlay-opacity': 0.55, 'underlay-padding': 9 } },
    {
      selector: '.connection.going',
      style: { opacity: 0, 'transition-property': 'opacity', 'transition-duration': FADE_MS },
    },
    {
      selector: '.denied',
      style: {
        width: 3,
        'line-color': theme.bad,
        'line-style': 'dashed',
        'target-arrow-shape': 'tee',
        'target-arrow-color': theme.bad,
      },
    },
    { selector: '.chosen.container', style: { 'border-color': theme.text, width: 36, height: 36 } },
    { selector: '.chosen.host', style: { 'border-color': theme.accent, 'border-width': 2 } },
    { selector: '.chosen.connection', style: { 'underlay-opacity': 0.3, 'underlay-padding': 5 } },
    { selector: '.dim', style: { opacity: 0.13, 'text-opacity': 0.4 } },
  ] as StylesheetJson;
}
