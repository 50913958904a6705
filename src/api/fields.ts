// Fields that the schemas of several operations have.

import { z } from 'zod';
import { parseAddressPort } from '../base/address-port';
import { parseIpv4 } from '../base/addresses';
import { parsedUnlessEmpty } from '../base/body-schema';
import { SITE_NAME } from '../directory/rows';
import { L2_SETTINGS, TUNNEL_PORT } from '../directory/tunnel-operations';

export const text = z.string({ error: 'is not text' });

/** Text that says something. */
export const name = text.min(1, 'is empty').max(1_024, 'is too long');

export const flag = z.boolean({ error: 'is not true or false' });

/** Of a query: text. */
export const queryFlag = z
  .enum(['true', 'false'], { error: 'is not true or false' })
  .transform((word) => word === 'true');

/** An IPv4 address that may be left out. */
export const optionalAddress = parsedUnlessEmpty(parseIpv4).optional();

/** A site's name that may be left out. */
export const optionalSite = text
  .regex(SITE_NAME, 'is no name of a site: lower-case letters, digits and "-", at most 31, a letter or digit first')
  .optional();

/** Where a tunnel is reached, "192.0.2.1" or "192.0.2.1:7471"; it may be left out. */
export const optionalEndpoint = parsedUnlessEmpty((value) => parseAddressPort(value, TUNNEL_PORT)).optional();

/** Whether a host shares an L2 with its site. */
export const l2Setting = z.enum(L2_SETTINGS, { error: 'is not auto, yes or no' });

/** What is answered where there is nothing to say. */
export const nothing = z.object({});

/** Path parameter `{name}`. */
export const byName = z.strictObject({ name });

/** Of a query: a whole number from `min` to `max`. */
export function queryNumber(min: number, max: number) {
  return z.string().transform((digits, context) => {
    const value = /^\d{1,10}$/.test(digits) ? Number(digits) : NaN;
    if (value >= min && value <= max) return value;
    context.addIssue({ code: 'custom', message: `is not a whole number from ${min} to ${max}` });
    return z.NEVER;
  });
}
