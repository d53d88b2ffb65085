-- The words of a text, as indexes hold them and questions are read: of its folded text, in the language of
-- the configuration "crm".
--
-- - A code, a name or an address with signs in it (TC-401, v2.3.1, ERR_CONN, ana@post.example) is its parts,
--   and, without a position, what was written, what is left of it without the signs, and the same of what
--   stands between the signs of an address.
-- - So are the two sides of where letters meet digits (E1002, 100GB), but not in what alternates as a hash.
-- - So are the digits of a number that was written in groups, and those of a telephone's number without the
--   local or the country's prefix, which has one to three digits: all three.
-- - Digits are those of ASCII, also where Arabic, Persian or Hindi has its own.
-- - Scripts without spaces are pairs of neighbouring characters; ideographs, without a position, also single.
-- - Accents count, unless the comment on the configuration says that they do not (crm knowledge language).
--
-- The index of words calls it where nothing but pg_catalog is looked through, so all else has its schema.
-- Neither number nor length of what is added may make a text one that cannot be indexed, and so not stored.
CREATE OR REPLACE FUNCTION text_words(source text)
RETURNS tsvector LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS $$
DECLARE
    alpha text := 'a-z\u00aa-\u0dff\u0f00-\u0fff\u10a0-\u177f\u1800-\u1fff';
    letter text;
    dense CONSTANT text := '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3041-\u30fa'
        '\u30fc-\u31ff\u3400-\ua4cf\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]';
    sign CONSTANT text := '[-_.@/+:#&=,\\]';
    folded text := public.folded_text(source);
    written text[] := '{}';
    plain text[] := '{}';
BEGIN
    IF octet_length(folded) = char_length(folded) THEN
        alpha := 'a-z';  -- much faster to look for
    ELSE
        folded := translate(regexp_replace(folded,
            '[\u00ad\u061c\u200b-\u200f\u2060\ufe00-\ufe0f\ufeff\U000e0000-\U000e007f]', '', 'g'),
            U&'\2010\2011\2012\2013\2014\2212\2019'
            '\0660\0661\0662\0663\0664\0665\0666\0667\0668\0669'
            '\06f0\06f1\06f2\06f3\06f4\06f5\06f6\06f7\06f8\06f9'
            '\0966\0967\0968\0969\096a\096b\096c\096d\096e\096f',
            '------''012345678901234567890123456789');
        -- What is no letter parts words, whatever the locale takes it for.
        folded := regexp_replace(folded, '[\u00a1-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7'
            '\u055a-\u055f\u0589\u05be\u05c0\u05c3\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965'
            '\u0f04-\u0f14\u10fb\u1360-\u1368\u2010-\u2bff\u3000-\u3004\u3008-\u303f\u30fb'
            '\U0001f000-\U0001faff]', ' ', 'g');
        IF EXISTS (
            SELECT FROM pg_catalog.pg_description
            WHERE objoid = 'public.crm'::regconfig AND classoid = 'pg_catalog.pg_ts_config'::regclass
                AND description = 'Accents are folded.'
        ) THEN
            folded := normalize(regexp_replace(normalize(folded, NFD), '[\u0300-\u036f]', '', 'g'), NFC);
        END IF;
        IF folded ~ dense THEN
            written := ARRAY(
                SELECT DISTINCT one FROM unnest(string_to_array(folded, NULL)) AS one
                WHERE one COLLATE "C" BETWEEN U&'\3400' AND U&'\9fff' LIMIT 5000
            );
            folded := concat_ws(' ', regexp_replace(folded, dense, ' ', 'g'), (
                SELECT string_agg(substr(run[1], place, 2), ' ')
                FROM regexp_matches(folded, dense || '{1,64}', 'g') AS run,
                    generate_series(1, GREATEST(char_length(run[1]) - 1, 1)) AS place
            ));
        END IF;
    END IF;
    letter := '[0-9' || alpha || ']';
    alpha := '[' || alpha || ']';
    IF folded ~ (letter || sign || '{1,3}' || letter || '|' || letter || '[+#]') THEN
        WITH forms AS (
            SELECT form FROM regexp_matches(folded,
                letter || '+(?:' || sign || '{1,3}' || letter || '+)+|' || letter || '+[+#]{1,2}', 'g'
            ) AS code, LATERAL (
                SELECT code[1] UNION ALL SELECT substring(code[1] FROM '^v([0-9].*)$')
                UNION ALL SELECT part FROM regexp_split_to_table(
                    CASE WHEN code[1] ~ '[@/:#&=,\\]' THEN code[1] END, '[@/:#&=\\]+|,+(?![0-9])') AS part
            ) AS forms (form)
            WHERE char_length(form) BETWEEN 2 AND 64 AND form ~ sign LIMIT 1000
        )
        SELECT written || array_agg(form),
            COALESCE(array_agg(regexp_replace(form, '[-_.,:/\\]', '', 'g')), '{}')
        INTO written, plain FROM forms;
    END IF;
    IF folded ~ (alpha || '[0-9]|[0-9]' || alpha) THEN
        plain := plain || ARRAY(
            SELECT part
            FROM regexp_matches(
                    regexp_replace(folded, '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}', ' ', 'g'),
                    '(?<!' || letter || ')(?:' || alpha || '+[0-9]+(?:' || alpha || '+[0-9]*)?|[0-9]+' || alpha
                        || '+(?:[0-9]+' || alpha || '*)?)(?!' || letter || ')', 'g'
                ) AS run,
                LATERAL (
                    SELECT side[1], count(*) OVER ()
                    FROM regexp_matches(left(run[1], 64), '[0-9]+|' || alpha || '+', 'g') AS side
                ) AS sides (part, number)
            -- Two letters tell something only where the number is a digit: 2FA, 5kg.
            WHERE char_length(part) >= CASE
                WHEN number = 2 AND (part ~ '[0-9]' OR char_length(run[1]) = char_length(part) + 1) THEN 2
                ELSE 3
            END
            LIMIT 1000
        );
    END IF;
    IF folded ~ '[0-9][ ()./''-]{1,3}[0-9]|[0-9]{7}' THEN
        written := written || ARRAY(
            SELECT form
            FROM regexp_matches(folded, '[+]?[0-9]+(?:[ ()./''-]{1,3}[0-9]+)+|[+]?[0-9]{7,}', 'g') AS number,
                regexp_replace(replace(number[1], '(0)', ''), '[^0-9]', '', 'g') AS digits,
                LATERAL (SELECT CASE
                    WHEN digits ~ '^00' THEN substr(digits, 3) WHEN number[1] ~ '^[+]' THEN digits
                END) AS other (abroad),
                unnest(ARRAY[digits, abroad, substr(abroad, 2), substr(abroad, 3), substr(abroad, 4),
                    substring(digits FROM '^(?:0(?=[1-9])|[18](?=[0-9]{10}$))(.*)$')]) AS form
            WHERE char_length(form) BETWEEN 7 AND 20
                OR form = digits AND number[1] ~ '^[0-9]{1,3}(?:[ ''][0-9]{3})+$'
            LIMIT 1000
        );
    END IF;
    RETURN to_tsvector('public.crm', regexp_replace(folded, '[-_.@/+:#&=,\\<>]', ' ', 'g'))
        || array_to_tsvector(written) || strip(to_tsvector('public.crm', array_to_string(plain, ' ')));
END;
$$;
