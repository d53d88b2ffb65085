-- One spelling of a text, whoever typed it and wherever it comes from: composed or decomposed, in full or half
-- width, in capitals or not. Accents stay. Depends on no locale: a base letter is ASCII once it is decomposed,
-- and letters that are not have a table here.
CREATE OR REPLACE FUNCTION folded_text(source text)
RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    capitals CONSTANT text := 'ÆŒØĐÐÞŁŊƏĦŦƁƉƊƎƐƑƓƔƖƗƘƝƆƲƳƷǤΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩς'
        'АБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЂЄЅІЈЉЊЋЏҐҒҖҚҢҮҰҲҺӘӨѢҎҔҘҜҞҠҤҦҨҪҬҴҶҸҼҾӀӃӇӋӔӠӶӺӼӾ'
        'ԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖ'
        'ᲐᲑᲒᲓᲔᲕᲖᲗᲘᲙᲚᲛᲜᲝᲞᲟᲠᲡᲢᲣᲤᲥᲦᲧᲨᲩᲪᲫᲬᲭᲮᲯᲰ';
    letters CONSTANT text := 'æœøđðþłŋəħŧɓɖɗǝɛƒɠɣɩɨƙɲɔʋƴʒǥαβγδεζηθικλμνξοπρστυφχψωσ'
        'абвгдежзиклмнопрстуфхцчшщъыьэюяђєѕіјљњћџґғҗқңүұҳһәөѣҏҕҙҝҟҡҥҧҩҫҭҵҷҹҽҿӏӄӈӌӕӡӷӻӽӿ'
        'աբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆ'
        'აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ';
    folded text;
BEGIN
    IF octet_length(source) = char_length(source) THEN
        RETURN lower(source COLLATE "C");
    END IF;
    folded := lower(normalize(source, NFKD) COLLATE "C");
    IF folded ~ ('[' || capitals || 'ßẞ]') THEN
        folded := replace(replace(translate(folded, capitals, letters), 'ß', 'ss'), 'ẞ', 'ss');
    END IF;
    -- The capital of a Turkish i, which others write with a dot that nobody sees.
    RETURN normalize(replace(folded, U&'i\0307', 'i'), NFC);
END;
$$;
