-- The canonical form of an address, as rows of customer_identifiers have it, where SQL alone can tell; else NULL.
--
-- It can: ASCII mailboxes, numbers with their country code, WhatsApp ids, and the foldings of Mexico, Argentina,
-- Brazil, Ivory Coast and Benin. It cannot: other scripts, quoted mailboxes, numbers in national form, and a zero
-- after the country code, which some countries dial and others drop.
CREATE OR REPLACE FUNCTION canonical_identifier(type text, value text)
RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT CASE
        WHEN type = 'email' THEN
            CASE WHEN mailbox ~ '^[a-z0-9!#$%&''*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&''*+/=?^_`{|}~-]+)*@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$'
                THEN mailbox END
        WHEN type = 'whatsapp' AND id ~ '[A-Za-z]' THEN CASE WHEN id ~ '^[!-~]+$' AND id !~ '^\+' THEN id END
        WHEN type IN ('phone', 'whatsapp') AND number ~ '^\+[1-9][0-9]{7,14}$' THEN
            CASE
                WHEN number ~ '^\+52(1|04[45])[2-9][0-9]{9}$' THEN '+52' || right(number, 10)
                WHEN number ~ '^\+549(11|[23][0-9])[0-9]{8}$' THEN '+54' || right(number, 10)
                WHEN number ~ '^\+55([14689][1-9]|2[12478]|3[1-578]|5[13-5]|7[13-579])[689][0-9]{7}$'
                    THEN left(number, 5) || '9' || right(number, 8)
                WHEN number ~ '^\+225[04-9][0-3][0-9]{6}$' THEN '+22501' || right(number, 8)
                WHEN number ~ '^\+225[04-9][4-6][0-9]{6}$' THEN '+22505' || right(number, 8)
                WHEN number ~ '^\+225[04-9][7-9][0-9]{6}$' THEN '+22507' || right(number, 8)
                WHEN number ~ '^\+229[0-9]{8}$' THEN '+22901' || right(number, 8)
                WHEN number ~ '^\+(39|225|229|24[12]|37[89])' THEN number
                WHEN number !~ ('^\+(1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|2[1-689][0-9]'
                    || '|3[578][0-9]|42[0-9]|5[09][0-9]|6[7-9][0-9]|8[05789][0-9]|9[679][0-9])0') THEN number
            END
    END
    FROM (
        SELECT lower(btrim(value, E' \t\r\n') COLLATE "C") AS mailbox,
            regexp_replace(btrim(value, E' \t\r\n'), '^(whatsapp:\s*)+', '', 'i') AS id
    ) AS plain, LATERAL (
        SELECT CASE
            WHEN (CASE type WHEN 'whatsapp' THEN id ELSE btrim(value, E' \t\r\n') END) !~ '^[\s(]*\+?[0-9\s()./-]+$'
                THEN NULL
            ELSE regexp_replace(
                regexp_replace(CASE type WHEN 'whatsapp' THEN id ELSE value END, '[^0-9+]', '', 'g'),
                CASE WHEN type = 'whatsapp' AND id ~ '^[1-9][0-9]*$' THEN '^' ELSE '^00' END, '+'
            )
        END AS number
    ) AS dialled
$$;
