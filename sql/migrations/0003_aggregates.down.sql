DROP TABLE guildstream.sink_offsets, guildstream.refresh_state, guildstream.activity_daily,
    guildstream.activity_hourly, guildstream.activity_delta;
