// Prints what @lvgithub/ctrip-apollo-client sees of each namespace, at first and after each change.
const path = require('path')
const {CtripApolloClient} = require('@lvgithub/ctrip-apollo-client')

const {SERVER, APP_ID, CLUSTER, NAMESPACES, SECRET, CACHE_DIR} = process.env
const shown = {}

const show = (configs) => {
  for (const namespace of NAMESPACES.split(',')) {
    const values = (configs[namespace] || {}).configurations || {}
    const line = JSON.stringify({namespace, values})
    if (shown[namespace] !== line) console.log((shown[namespace] = line))
  }
}

const client = new CtripApolloClient({
  metaServerUrl: SERVER,
  appId: APP_ID,
  clusterName: CLUSTER,
  namespaceList: NAMESPACES.split(','),
  accessKey: SECRET,
  configPath: path.join(CACHE_DIR, 'apollo.json'),
  onChange: show
})
client.ready().catch(() => show({}))
