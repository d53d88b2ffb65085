-- The words of a text, as indexes hold them and questions are read: of its folded text, in the language of the
-- configuration "crm".
--
-- - A code, a name or an address with signs in it (TC-401, v2.3.1, ERR_CONN, ana@post.example) is its parts,
--   and, without a position, what was written and what is left of it without the signs. So are the digits of a
--   number that was written in groups, as telephone numbers are.
-- - Scripts without spaces are pairs of neighbouring characters.
-- - Accents count, unless the comment on the configuration says that they do not (crm knowledge language).
--
-- The index of words calls it where nothing but pg_catalog is looked through, so all else has its schema.
-- Neither number nor length of what is added may make a text one that cannot be indexed, and so not stored.
CREATE OR REPLACE FUNCTION text_words(source text)
RETURNS tsvector LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS $$
DECLARE
    letter text := '[0-9a-z\u00aa-\u0dff\u0f00-\u0fff\u10a0-\u177f\u1800-\u1fff]';
    dense CONSTANT text := '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3041-\u30fa'
        '\u30fc-\u31ff\u3400-\ua4cf\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]';
    sign CONSTANT text := '[-_.@/+:#&=,\\]';
    folded text := public.folded_text(source);
    written text[] := '{}';
BEGIN
    IF octet_length(folded) = char_length(folded) THEN
        letter := '[0-9a-z]';  -- much faster to look for
    ELSE
        folded := translate(regexp_replace(folded, '[\u00ad\u200b-\u200d\u2060\ufeff]', '', 'g'),
            U&'\2010\2011\2012\2013\2014\2212\2019', '------''');
        -- What is no letter parts words, whatever the locale takes it for.
        folded := regexp_replace(folded, '[\u00a1-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7'
            '\u2010-\u2bff\u3000-\u3004\u3008-\u303f\u30fb]', ' ', 'g');
        IF EXISTS (
            SELECT FROM pg_catalog.pg_description
            WHERE objoid = 'public.crm'::regconfig AND classoid = 'pg_catalog.pg_ts_config'::regclass
                AND description = 'Accents are folded.'
        ) THEN
            folded := normalize(regexp_replace(normalize(folded, NFD), '[\u0300-\u036f]', '', 'g'), NFC);
        END IF;
        IF folded ~ dense THEN
            folded := concat_ws(' ', regexp_replace(folded, dense, ' ', 'g'), (
                SELECT string_agg(substr(run[1], place, 2), ' ')
                FROM regexp_matches(folded, dense || '{1,64}', 'g') AS run,
                    generate_series(1, GREATEST(char_length(run[1]) - 1, 1)) AS place
            ));
        END IF;
    END IF;
    IF folded ~ (letter || sign || '{1,3}' || letter || '|' || letter || '[+#]') THEN
        written := ARRAY(
            SELECT form
            FROM regexp_matches(folded,
                    letter || '+(?:' || sign || '{1,3}' || letter || '+)+|' || letter || '+[+#]{1,2}', 'g'
                ) AS code,
                unnest(ARRAY[code[1], regexp_replace(code[1], '[-_.,/\\]', '', 'g'),
                    substring(code[1] FROM '^v([0-9].*)$')]) AS form
            WHERE char_length(form) BETWEEN 2 AND 64 LIMIT 1000
        );
    END IF;
    IF folded ~ '[0-9][ ()./-]{1,3}[0-9]' THEN
        written := written || ARRAY(
            SELECT digits
            FROM regexp_matches(folded, '(?<![0-9a-z])[0-9]+(?:[ ()./-]{1,3}[0-9]+)+', 'g') AS number,
                regexp_replace(replace(number[1], '(0)', ''), '[^0-9]', '', 'g') AS digits
            WHERE char_length(digits) BETWEEN 7 AND 20 LIMIT 1000
        );
    END IF;
    RETURN to_tsvector('public.crm', regexp_replace(folded, sign, ' ', 'g'))
        || array_to_tsvector(written);
END;
$$;
