// Prints what ctrip-apollo sees of each namespace, at first and after each change.
const apollo = require('ctrip-apollo')

const {SERVER, APP_ID, CLUSTER, NAMESPACES, CACHE_DIR} = process.env

const show = (namespace, values) => console.log(JSON.stringify({namespace, values}))

const cluster = apollo({
  host: SERVER,
  appId: APP_ID,
  cachePath: CACHE_DIR,
  pollingRetryPolicy: () => ({delay: 500})
}).cluster(CLUSTER)

for (const name of NAMESPACES.split(',')) {
  const namespace = cluster.namespace(name)
  namespace.on('updated', ({newConfig}) => show(name, newConfig))
  namespace.ready().then(() => show(name, namespace.config()), () => show(name, {}))
}
