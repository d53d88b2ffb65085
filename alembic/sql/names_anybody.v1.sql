-- Whether a text has one of the addresses in it, or the name of one of the customers, whatever stands between
-- their words, and between the digits of a number.
CREATE OR REPLACE FUNCTION names_anybody(words text, customer_ids uuid[], addresses text[])
RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM (
            SELECT unnest(addresses) AS name
            UNION SELECT name FROM customers WHERE id = ANY (customer_ids)
            UNION SELECT absorbed ->> 'name' FROM customer_merges WHERE absorbed_id = ANY (customer_ids)
        ) AS named, regexp_replace(lower(name), '[^[:alnum:]]+', ' ', 'g') AS plain
        -- A name of two letters is in many a text.
        WHERE length(trim(plain)) > 2
            AND strpos(regexp_replace(lower(' ' || words || ' '), '[^[:alnum:]]+', ' ', 'g'),
                ' ' || trim(plain) || ' ') > 0
            OR name ~ '^\+?[0-9 ()./-]{7,}$' AND words ~ (
                '(?:^|[^0-9])'
                || regexp_replace(regexp_replace(name, '[^0-9]', '', 'g'), '.(?=.)', '\&[^[:alnum:]]{0,2}', 'g')
                || '(?:$|[^0-9])'
            )
    )
$$;
