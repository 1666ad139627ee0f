// Registers an instance with eureka-js-client, renews its lease, and cancels it when it is asked to end.
//
// The one argument is what registrant.rs describes, as JSON.
'use strict';

const { createRequire } = require('module');

const config = JSON.parse(process.argv[2]);
const { Eureka } = createRequire(`${config.packages}/`)('eureka-js-client');

const server = new URL(config.server);
const pair = (port, other) => ({ $: port ?? other, '@enabled': port !== null });

const client = new Eureka({
  instance: {
    app: config.app,
    instanceId: config.id,
    hostName: config.host,
    ipAddr: config.ip,
    port: pair(config.port, 8080),
    securePort: pair(config.securePort, 8443),
    vipAddress: config.vip,
    secureVipAddress: config.secureVip ?? undefined,
    dataCenterInfo: {
      '@class': 'com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo',
      name: 'MyOwn',
    },
    leaseInfo: { renewalIntervalInSecs: config.renewal, durationInSecs: config.duration },
    metadata: config.metadata,
  },
  eureka: {
    host: server.hostname,
    port: Number(server.port),
    servicePath: `${server.pathname.replace(/\/$/, '')}/apps/`,
    heartbeatInterval: 1000 * config.renewal,
    fetchRegistry: false,
  },
});

const end = () => {
  client.stop((error) => {
    if (error) {
      console.error(error);
    }
    process.exit(error ? 1 : 0);
  });
};
process.on('SIGTERM', end);
process.on('SIGINT', end);

client.start((error) => {
  if (error) {
    console.error(error);
    process.exit(1);
  }
  console.log('registered');
});
