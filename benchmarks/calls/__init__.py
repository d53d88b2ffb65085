"""Every call of the services beside the same work done by others, and how to measure them.

``operations`` says what is called and with what, ``base`` fills the database, ``ours``, ``handwritten``,
``seed_way`` and ``plain_orm`` do the work, ``wire`` counts and delays flights, ``measure`` and ``throughput``
take the figures, ``bars`` judges them and ``report`` writes them down. ``speed.py`` and ``growth.py`` beside
this package are the programs.
"""
