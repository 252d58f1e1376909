DROP VIEW analytics.members, analytics.command_daily,
    analytics.member_monthly, analytics.guild_monthly, analytics.member_weekly, analytics.guild_weekly,
    analytics.member_channel_daily, analytics.member_daily, analytics.channel_daily, analytics.guild_daily,
    analytics.member_hourly, analytics.channel_hourly, analytics.guild_hourly;
