-- What all spellings of an address share: of a number its digits, of an email its mailbox, without the tag and at
-- Gmail without dots. NULL for a placeholder and for a WhatsApp id that is no number.
CREATE OR REPLACE FUNCTION plain_address(type text, value text)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN type <> 'email' THEN
            CASE WHEN type <> 'whatsapp' OR value !~ '[A-Za-z]'
                THEN pg_catalog.regexp_replace(value, '[^0-9]', '', 'g') END
        WHEN pg_catalog.right(value, 20) = '@placeholder.invalid' THEN NULL
        WHEN pg_catalog.lower(value) ~ '(^|@)(gmail|googlemail)\.com$' THEN
            pg_catalog.replace(pg_catalog.regexp_replace(pg_catalog.regexp_replace(pg_catalog.lower(value),
                '@[^@]*$', ''), '(?<=.)\+.*$', ''), '.', '') || '@gmail.com'
        ELSE pg_catalog.regexp_replace(pg_catalog.regexp_replace(pg_catalog.lower(value),
                '@[^@]*$', ''), '(?<=.)\+.*$', '')
            || '@' || pg_catalog."substring"(pg_catalog.lower(value), '[^@]*$')
    END
$$;
